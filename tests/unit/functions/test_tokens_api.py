"""`/api/api-tokens` at its handler: fields and statuses as upstream's clients know them."""

import json

import pytest

from tests.unit.functions.conftest import Context
from tests.unit.functions.samples import call, sample


@pytest.fixture
def api(load):
    module = load("tokens_api")

    def run(*args, **kwargs):
        event = args[0] if isinstance(args[0], dict) else call(*args, **kwargs)
        answer = module.handler(event, Context())
        return answer["statusCode"], json.loads(answer["body"])

    return run


def test_the_sample_makes_a_token_whose_secret_is_in_this_answer_alone(api):
    # When
    status, made = api(sample("tokens_api"))

    # Then
    assert status == 201
    assert set(made) == {
        "token", "tokenUUID", "tokenExpiration", "createdDate", "username", "name", "groups", "isSystemToken",
    }  # fmt: skip
    assert (made["username"], made["groups"]) == ("alice", ["team-a"])
    alice = {"user": "alice", "groups": ("user",)}
    status, listed = api("GET", "/api/api-tokens", **alice)
    assert status == 200
    (one,) = listed["tokens"]
    assert set(one) == {
        "tokenUUID", "tokenExpiration", "createdDate", "username", "createdBy", "name", "groups", "isSystemToken",
        "isExpired", "isLegacy", "lastUsed",
    }  # fmt: skip
    assert api("GET", f"/api/api-tokens/{made['tokenUUID']}", **alice) == (200, one)
    status, revoked = api("DELETE", f"/api/api-tokens/{made['tokenUUID']}", **alice)
    assert (status, set(revoked)) == (200, {"message", "tokenUUID"})


def test_a_slash_at_the_end_is_the_same_path(api):
    assert api("POST", "/api/api-tokens/", {"name": "n"}, user="alice", groups=("user",))[0] == 201


def test_an_encoded_user_name_is_the_name(api):
    status, made = api("POST", "/api/api-tokens/ci%40example.com", {"name": "n", "isSystemToken": True})
    assert (status, made["username"], made["isSystemToken"]) == (201, "ci@example.com", True)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": " "}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"name": "a\tb"}, "name"),
        ({"name": 5}, "name"),
        ({"name": "n", "tokenExpiration": "tomorrow"}, "tokenExpiration"),
        ({"name": "n", "tokenExpiration": 1.5}, "tokenExpiration"),
        ({"name": "n", "tokenExpiration": 1}, "tokenExpiration"),
        ({"name": "n", "groups": "user"}, "groups"),
        ({"name": "n", "groups": ["other"]}, "groups"),
        ({"name": "n", "groups": ["g"] * 101}, "groups"),
        ({"name": "n", "isSystemToken": "yes"}, "isSystemToken"),
    ],
)
def test_what_is_wrong_is_named(api, body, field):
    status, answer = api("POST", "/api/api-tokens", body, user="alice", groups=("user",))
    assert (status, answer["code"], answer["field"]) == (400, "invalid_request", field)


def test_a_name_is_taken_once(api):
    for expected in (201, 409):
        assert api("POST", "/api/api-tokens", {"name": "n"}, user="alice", groups=("user",))[0] == expected


def test_users_make_tokens_for_nobody_else(api):
    status, answer = api("POST", "/api/api-tokens/bob", {"name": "n"}, user="alice", groups=("user",))
    assert (status, answer["code"]) == (403, "forbidden")
