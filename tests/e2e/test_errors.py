"""What people get for bad input, at both doors."""

import base64
import json

import pytest

from tests.e2e.conftest import http

pytestmark = pytest.mark.cloud

GOOD = {"modelId": "fine", "modelName": "openai/x", "modelType": "textgen"}


def forged(claims: dict[str, object], algorithm: str = "none") -> str:
    parts = [{"alg": algorithm, "typ": "JWT"}, claims]
    return (
        ".".join(base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts) + "."
    )


def management_error(answer, status, code=None):
    assert answer.status == status, answer
    assert answer.body["message"]
    assert answer.body["code"]
    assert answer.body["requestId"]
    if code:
        assert answer.body["code"] == code
    return answer.body


@pytest.mark.parametrize(
    "token", ["nonsense", "a.b.c", forged({"sub": "admin", "cognito:groups": ["admin"]})]
)
def test_a_token_that_proves_nothing_is_401_at_both_doors(cloud, token):
    management_error(http("GET", f"{cloud.api_url}/models", token=token), 401)
    answer = http("GET", f"{cloud.serve_url}/models", token=token)
    assert answer.status == 401
    assert answer.body["error"]["type"]
    assert answer.headers["x-request-id"]


def test_no_token_is_401_at_both_doors(cloud):
    management_error(http("GET", f"{cloud.api_url}/models"), 401)
    assert http("GET", f"{cloud.serve_url}/models").status == 401
    assert http("POST", f"{cloud.serve_url}/messages", json_body={}).body["type"] == "error"


def test_only_admins_create_and_delete(cloud, alice):
    management_error(alice.call("POST", "/models", json_body=GOOD), 403)
    management_error(alice.call("DELETE", "/models/smollm2-135m"), 403)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"modelId": None}, "modelId"),
        ({"modelId": "no spaces please"}, "modelId"),
        ({"modelType": "poetry"}, "modelType"),
        ({"modelName": ""}, "modelName"),
        ({"streaming": "perhaps"}, "streaming"),
        ({"modelUrl": "http://169.254.169.254/latest"}, "modelUrl"),
        ({"modelUrl": "ftp://127.0.0.1/"}, "modelUrl"),
        ({"modelUrl": "http://10.1.2.3/v1"}, "modelUrl"),
    ],
)
def test_a_definition_that_is_wrong_names_the_field(admin, change, field):
    body = management_error(admin.call("POST", "/models", json_body={**GOOD, **change}), 400)
    assert body["field"] == field


def test_malformed_json_is_400(cloud, admin):
    management_error(admin.call("POST", "/models", raw=b"{not json"), 400)
    answer = http("POST", f"{cloud.serve_url}/chat/completions", token=admin.token, raw=b"{not json")
    assert answer.status == 400


def test_a_name_that_is_taken_is_409(admin):
    management_error(admin.call("POST", "/models", json_body={**GOOD, "modelId": "smollm2-135m"}), 409)


def test_a_model_that_is_not_there_is_404(admin):
    management_error(admin.call("GET", "/models/nothing-here"), 404)
    management_error(admin.call("DELETE", "/models/nothing-here"), 404)


def test_unknown_paths_are_json_never_a_page(cloud, admin):
    for path in ("/v1/nothing", "/v2/serve/nothing", "/health/nothing", "/v2/nothing"):
        answer = http("GET", cloud.url + path, token=admin.token)
        assert (path, answer.status) == (path, 404)
        assert answer.body["error"]["message"]
    management_error(http("GET", f"{cloud.api_url}/nothing", token=admin.token), 404)
    assert http("GET", f"{cloud.url}/metrics").status == 404
    assert http("GET", f"{cloud.url}/v1/metrics", token=admin.token).status == 404


def test_a_body_over_the_limit_is_413(cloud, admin):
    big = json.dumps(
        {"model": "smollm2-135m", "messages": [{"role": "user", "content": "x" * 11_000_000}]}
    ).encode()
    answer = http("POST", f"{cloud.serve_url}/chat/completions", token=admin.token, raw=big)
    assert answer.status == 413
    assert answer.body["error"]["message"]


def test_the_front_page_helps_a_newcomer(cloud):
    page = http("GET", cloud.url + "/")
    assert page.status == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "lisa token" in page.body
    assert "/api/docs" in page.body
