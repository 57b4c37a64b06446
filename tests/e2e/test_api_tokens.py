"""API tokens as people use them: made once, used with real clients at both doors, listed, revoked."""

import secrets
import time
from collections.abc import Callable
from typing import Any

import openai
import pytest

from tests.cloud import TestCloud, eventually
from tests.e2e.conftest import Answer, Api, http

pytestmark = pytest.mark.cloud

CHAT = "smollm2-135m"
REVOKED_WITHIN = 60


@pytest.fixture
def token(alice: Api) -> Callable[..., dict[str, Any]]:
    def make(**fields: Any) -> dict[str, Any]:
        answer = alice.call("POST", "/api-tokens/", json_body={"name": secrets.token_hex(8), **fields})
        assert answer.status == 201, answer
        return dict(answer.body)

    return make


def both(cloud: TestCloud, secret: str) -> tuple[int, int]:
    """What the API and the gateway answer to a token."""
    return (
        http("GET", f"{cloud.api_url}/models", token=secret).status,
        http("GET", f"{cloud.serve_url}/models", token=secret).status,
    )


def test_openais_client_chats_with_an_api_token(cloud, token):
    with openai.OpenAI(base_url=cloud.serve_url, api_key=token()["token"], max_retries=0) as client:
        assert CHAT in {model.id for model in client.models.list()}
        messages: Any = [{"role": "user", "content": "Say hello"}]
        answer = client.chat.completions.create(model=CHAT, messages=messages, max_tokens=8)
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 0


@pytest.mark.parametrize("prefix", ["/v1", "/v2/serve"])
@pytest.mark.parametrize("header", ["Authorization", "Api-Key", "x-api-key"])
def test_the_gateway_takes_it_in_each_header_and_refuses_two_that_differ(cloud, token, prefix, header):
    # Given two good tokens
    one, two = token()["token"], token()["token"]
    url = f"{cloud.url}{prefix}/models"

    # When, Then
    assert http("GET", url, headers={header: one}).status == 200
    assert http("GET", url, headers={header: f"Bearer {one}"}).status == 200
    other = "x-api-key" if header != "x-api-key" else "Api-Key"
    assert http("GET", url, headers={header: one, other: two}).status == 401


def test_the_management_api_takes_authorization_alone(cloud, token):
    secret = token()["token"]
    url = f"{cloud.api_url}/models"
    assert http("GET", url, headers={"Authorization": secret}).status == 200
    assert http("GET", url, headers={"Authorization": f"Bearer {secret}"}).status == 200
    for header in ("Api-Key", "x-api-key"):
        assert http("GET", url, headers={header: secret}).status == 401


def test_a_list_shows_own_tokens_and_no_secret(token, alice, bob, admin):
    made = token()
    for person, sees in ((alice, True), (bob, False), (admin, True)):
        answer = person.call("GET", "/api-tokens")
        assert answer.status == 200
        uuids = {entry["tokenUUID"] for entry in answer.body["tokens"]}
        assert (made["tokenUUID"] in uuids) is sees
        assert made["token"] not in str(answer.body)
        one = person.call("GET", f"/api-tokens/{made['tokenUUID']}")
        assert one.status == (200 if sees else 404)
    assert bob.call("DELETE", f"/api-tokens/{made['tokenUUID']}").status == 404


def test_a_revoked_token_is_refused_everywhere_within_a_minute(cloud, token, alice):
    # Given a token that both doors have just seen
    made = token()
    assert both(cloud, made["token"]) == (200, 200)

    # When
    assert alice.call("DELETE", f"/api-tokens/{made['tokenUUID']}").status == 200

    # Then
    eventually(
        "the refusal at both doors", lambda: both(cloud, made["token"]) == (401, 401), within=REVOKED_WITHIN
    )
    assert alice.call("DELETE", f"/api-tokens/{made['tokenUUID']}").status == 404


def test_a_token_ends_at_its_date(cloud, token):
    made = token(tokenExpiration=int(time.time()) + 5)
    eventually("its end at both doors", lambda: both(cloud, made["token"]) == (401, 401), within=60)


def test_a_token_sees_the_models_of_its_groups_alone(cloud, admin, token, free_port):
    # Given a model of team-a
    model_id = f"tokens-{secrets.token_hex(4)}"
    admin.create(
        modelId=model_id,
        modelName="openai/none",
        modelType="textgen",
        modelUrl=f"http://127.0.0.1:{free_port}/v1",
        apiKey="sk-none",
        allowedGroups=["team-a"],
    )
    try:
        admin.await_status(model_id, "InService")
        of_team, narrow = token()["token"], token(groups=["user"])["token"]

        # When, Then
        def seen(secret: str, url: str) -> int:
            return http("GET", f"{url}/models/{model_id}", token=secret).status

        assert [seen(of_team, url) for url in (cloud.serve_url, cloud.api_url)] == [200, 200]
        assert [seen(narrow, url) for url in (cloud.serve_url, cloud.api_url)] == [404, 404]
    finally:
        admin.delete(model_id)


@pytest.mark.parametrize(
    ("fields", "status", "field"),
    [
        ({"groups": ["team-b"]}, 400, "groups"),
        ({"tokenExpiration": 1}, 400, "tokenExpiration"),
        ({"tokenExpiration": 10**11}, 400, "tokenExpiration"),
        ({"isSystemToken": True}, 400, "isSystemToken"),
        ({"name": ""}, 400, "name"),
    ],
)
def test_what_is_wrong_is_said(alice, fields, status, field):
    answer: Answer = alice.call("POST", "/api-tokens", json_body={"name": "x", **fields})
    assert (answer.status, answer.body["field"]) == (status, field)


def test_a_name_is_taken_once(token, alice):
    made = token()
    answer = alice.call("POST", "/api-tokens", json_body={"name": made["name"]})
    assert (answer.status, answer.body["code"]) == (409, "token_exists")


def test_only_administrators_make_tokens_for_others(alice, admin, cloud):
    name = f"robot-{secrets.token_hex(4)}"
    body = {"name": "ci", "isSystemToken": True, "groups": ["team-b"]}
    assert alice.call("POST", f"/api-tokens/{name}", json_body=body).status == 403
    made = admin.call("POST", f"/api-tokens/{name}", json_body=body)
    assert made.status == 201, made
    assert (made.body["username"], made.body["isSystemToken"]) == (name, True)
    assert both(cloud, made.body["token"]) == (200, 200)
    # And a system token is no administrator unless it is given that group
    assert http("POST", f"{cloud.api_url}/models", token=made.body["token"], json_body={}).status == 403


def test_the_command_makes_lists_and_revokes(cloud):
    # When
    name = f"cli-{secrets.token_hex(4)}"
    made = cloud.lisa("token", "create", "--name", name, "--days", "3", "--user", "alice")
    assert made.returncode == 0, made.stderr
    secret = made.stdout.removesuffix("\n")

    # Then the secret stands alone on standard output, and works
    assert both(cloud, secret) == (200, 200)
    listed = cloud.lisa("token", "list", "--user", "alice")
    (line,) = [line for line in listed.stdout.splitlines() if name in line]
    assert secret not in listed.stdout
    revoked = cloud.lisa("token", "revoke", line.split()[0], "--user", "alice")
    assert revoked.returncode == 0, revoked.stderr
    again = cloud.lisa("token", "--user", "alice", "revoke", line.split()[0])
    assert again.returncode == 1
    assert again.stderr == "lisa token: There is no such token.\n"

    # And without an action there is a sign-in token, as ever
    plain = cloud.lisa("token", "--user", "alice")
    assert plain.stdout.count(".") == 2
    assert plain.stdout.count("\n") == 1
