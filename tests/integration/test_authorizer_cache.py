"""A warm call of the REST API runs one function, not two; and no answer is another token's."""

from __future__ import annotations

import time
from typing import Any

from tests.access.forgeries import Forge
from tests.cloud import TestCloud, eventually, function

CALLS = 5


def test_calls_with_a_known_token_run_one_function_each(cloud: TestCloud, forge: Forge) -> None:
    # Given a token that nobody has sent before
    token = forge.sign(jti="cold")
    since = int(time.time() * 1000)

    # When it is sent several times, well within the time for which verdicts are kept
    answers = [cloud.local.call("GET", "/api/models", token=token) for _ in range(CALLS)]

    # Then the authorizer has run once, and the function behind the route each time
    assert {answer.status for answer in answers} == {200}
    runs = eventually(
        f"{CALLS} calls in the log",
        lambda: (found := runs_since(cloud, since)).get("call", 0) >= CALLS and found,
        within=20,
    )
    assert runs["call"] == CALLS
    assert runs["admitted"] == 1
    assert runs["START"] == CALLS + 1


def test_tokens_that_begin_alike_have_verdicts_of_their_own(cloud: TestCloud, forge: Forge) -> None:
    """CVE-2026-35030: a cache that was keyed by the first characters of the token."""
    # Given two good tokens that differ in their last claim alone, of an administrator and of a user
    claims = {name: value for name, value in forge.claims.items() if name != "cognito:groups"}
    last = Forge(forge.key, forge.kid, claims)
    admin = last.sign(jti="alike", **{"cognito:groups": ["admin"]})
    user = last.sign(jti="alike", **{"cognito:groups": ["user"]})
    assert admin[:400] == user[:400]

    # When both are sent in turn, and each at both doors, so that every cache is warm
    for _ in range(2):
        assert cloud.local.call("POST", "/api/models", token=admin, body={}).status == 400
        assert cloud.local.call("POST", "/api/models", token=user, body={}).status == 403
        assert cloud.local.call("GET", "/v1/models", token=admin).status == 200
        assert cloud.local.call("GET", "/v1/models", token=user).status == 200

    # Then neither gets the other's verdict, nor does one whose end was changed
    changed = admin[:-8] + ("AAAAAAAA" if not admin.endswith("AAAAAAAA") else "BBBBBBBB")
    assert cloud.local.call("GET", "/api/models", token=changed).status == 401
    assert cloud.local.call("GET", "/v1/models", token=changed).status == 401


def runs_since(cloud: TestCloud, since: int) -> dict[str, int]:
    """How often the words of a run stand in the log of the API's functions."""
    group: str = function(cloud, "ApiAuthorizer")["LoggingConfig"]["LogGroup"]
    pages: Any = cloud.session.client("logs").get_paginator("filter_log_events")
    lines = [
        event["message"]
        for page in pages.paginate(logGroupName=group, startTime=since)
        for event in page["events"]
    ]
    return {
        "START": sum(line.startswith("START ") for line in lines),
        **{word: sum(f'"message":"{word}"' in line for line in lines) for word in ("admitted", "call")},
    }
