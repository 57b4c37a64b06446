"""What the SDK of upstream LISA's users sends and reads, by the letter of the wire contract."""

import json
import urllib.request

import pytest

from tests.e2e.conftest import http

pytestmark = pytest.mark.cloud

CHAT, EMBED = "smollm2-135m", "all-minilm-l6-v2"


@pytest.fixture(scope="module")
def serve(cloud):
    return cloud.serve_url.replace("/v1", "/v2/serve")


@pytest.fixture(scope="module", params=["bare", "bearer", "api-key", "both"])
def headers(request, cloud):
    token = cloud.token("admin")
    return {
        "bare": {"Authorization": token},
        "bearer": {"Authorization": f"Bearer {token}"},
        "api-key": {"Api-Key": token},
        "both": {"Api-Key": token, "Authorization": token},
    }[request.param]


def test_serve_takes_every_header(serve, headers):
    answer = http("GET", f"{serve}/models", headers=headers)
    assert answer.status == 200
    assert {CHAT, EMBED} <= {m["id"] for m in answer.body["data"]}


def test_model_info_tells_mode(serve, headers):
    answer = http("GET", f"{serve}/model/info", headers=headers)
    assert answer.status == 200
    modes = {m["model_name"]: m["model_info"]["mode"] for m in answer.body["data"]}
    assert modes[CHAT] == "chat"
    assert modes[EMBED] == "embedding"
    assert all(isinstance(m["litellm_params"], dict) for m in answer.body["data"])


def test_health_routes(serve, headers):
    assert isinstance(http("GET", f"{serve}/health", headers=headers).body, dict)
    assert isinstance(http("GET", f"{serve}/health/readiness", headers=headers).body, dict)
    assert http("GET", f"{serve}/health/liveliness", headers=headers).status == 200


def test_generate_and_stream(serve, headers):
    body = {
        "model": CHAT,
        "messages": [{"role": "user", "content": "Say hello"}],
        "stream": False,
        "max_tokens": 8,
    }
    answer = http("POST", f"{serve}/chat/completions", json_body=body, headers=headers).body
    assert isinstance(answer["choices"][0]["finish_reason"], str)
    assert answer["usage"]["completion_tokens"] > 0

    request = urllib.request.Request(
        f"{serve}/chat/completions",
        json.dumps({**body, "stream": True}).encode(),
        {**headers, "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        lines = [line.decode().strip() for line in response]
    events = [line.removeprefix("data:").strip() for line in lines if line.startswith("data:")]
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    assert all(chunk["choices"] for chunk in chunks)
    closing = [chunk["choices"][0] for chunk in chunks if chunk["choices"][0].get("finish_reason")]
    assert len(closing) == 1
    assert isinstance(closing[0]["delta"].get("content", ""), str)


def test_embeddings_are_float_lists_in_order(serve, headers):
    answer = http(
        "POST", f"{serve}/embeddings", json_body={"model": EMBED, "input": ["one", "two"]}, headers=headers
    )
    assert [d["index"] for d in answer.body["data"]] == [0, 1]
    assert all(isinstance(d["embedding"][0], float) for d in answer.body["data"])


def test_the_management_api_takes_a_bare_token(cloud):
    for header in (cloud.token("admin"), f"Bearer {cloud.token('admin')}", f"bearer {cloud.token('admin')}"):
        answer = http("GET", f"{cloud.api_url}/models", headers={"Authorization": header})
        assert answer.status == 200
        models = {m["modelId"]: m for m in answer.body["models"]}
        assert models[CHAT]["modelType"] == "textgen"
        assert models[EMBED]["modelType"] == "embedding"
        assert models[CHAT]["status"] == "InService"
        assert models[CHAT]["reason"] is None
        assert "apiKey" not in models[CHAT]


def test_documentation_is_public(cloud):
    page = http("GET", f"{cloud.api_url}/docs")
    assert page.status == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "models" in page.body
    document = http("GET", f"{cloud.api_url}/openapi.json")
    assert "/api/models" in "".join(document.body["paths"]) or "/models" in document.body["paths"]
