"""What belongs to one user, tried by another: every verb, by its very id, however it is written."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import pytest
from lisa import aws
from lisa.identity import RULES, Who

from tests.unit.functions.gateway_events import METHODS, Api
from tests.unit.models.bodies import external

OTHERS = {"bob": ["user", "team-b"], "curator": ["user", "rag-admin"], "nobody": []}


def a_model(admin: Api, alice: Api) -> str:
    """Of a group that alice is in, and the others are not."""
    status, body = admin.call("POST", "/api/models", external(modelId="of-team-a", allowedGroups=["team-a"]))
    assert status == 201, body
    return "of-team-a"


def usage(admin: Api, alice: Api) -> str:
    """Known by the user's name."""
    return "alice"


def an_api_token(admin: Api, alice: Api) -> str:
    status, body = alice.call("POST", "/api/api-tokens", {"name": "hers"})
    assert status == 201, body
    return str(body["tokenUUID"])


OBJECTS: dict[str, Callable[[Api, Api], str]] = {
    "/api/models/{modelId}": a_model,
    "/api/metrics/users/{userId}": usage,
    "/api/api-tokens/{id}": an_api_token,
}
"""For each path that names an object, how alice gets one; the answer is its id."""

NAMED = sorted(
    {
        rule.path
        for rule in RULES
        if rule.door == "api"
        and "{" in rule.path
        and rule.who is not Who.ADMIN
        # A search needs a query to be answered at all: test_rag_search.py tries it across users.
        and "/similaritySearch" not in rule.path
    }
)
"""What is for administrators alone is nobody's own; the access matrix tries it."""


@pytest.fixture
def people(load: Callable[[str], Any]) -> Callable[[str, list[str]], Api]:
    handler = lru_cache(lambda name: load(name).handler)
    return lambda user, groups: Api(handler, user, groups)


def everything() -> dict[str, list[Any]]:
    """All rows of all tables."""
    client = aws.dynamodb()
    return {
        name: sorted(client.scan(TableName=name)["Items"], key=str)
        for name in client.list_tables()["TableNames"]
    }


def written(identifier: str) -> set[str]:
    """The same id as callers may write it."""
    encoded = "".join(f"%{byte:02x}" for byte in identifier.encode())
    return {
        identifier,
        identifier + "/",
        encoded,
        encoded.upper(),
        identifier + "%20",
        "%2e%2e/" + identifier,
    }


def test_every_path_that_names_an_object_is_tried():
    missing = set(NAMED) - set(OBJECTS)
    assert not missing, f"say in OBJECTS how alice gets what these name: {sorted(missing)}"
    assert set(OBJECTS) <= set(NAMED)


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("path", NAMED)
def test_what_is_somebody_elses_is_not_there(people, path, other):
    # Given an object of alice's
    alice = people("alice", ["user", "team-a"])
    identifier = OBJECTS[path](people("admin", ["admin"]), alice)
    place = path[: path.index("{")]
    rest = path[path.index("}") + 1 :]
    shown = alice.call("GET", place + identifier + rest)
    assert shown[0] == 200
    before = everything()

    # When another tries every verb on it
    stranger = people(other, OTHERS[other])
    for method in map(str.upper, METHODS):
        rules = [rule for rule in RULES if (rule.door, rule.method, rule.path) == ("api", method, path)]
        for name in written(identifier):
            for body in (None, {}, {"name": "x"}):
                status, answer = stranger.call(method, place + name + rest, body)

                # Then it is not there; only what administrators alone may do says so
                expected = {403, 404} if rules and rules[0].who is Who.ADMIN else {404}
                assert status in expected, (method, name, body, status, answer)
                assert {"message", "code", "requestId"} <= set(answer)

    # And nothing has changed
    assert everything() == before
    assert alice.call("GET", place + identifier + rest) == shown


@pytest.mark.parametrize("path", NAMED)
def test_an_answer_does_not_tell_what_is_hidden_from_what_is_not_there(people, path):
    # Given an object of alice's
    identifier = OBJECTS[path](people("admin", ["admin"]), people("alice", ["user", "team-a"]))
    place, rest = path[: path.index("{")], path[path.index("}") + 1 :]

    # When bob asks for it, and for one that nobody has
    bob = people("bob", OTHERS["bob"])
    hidden = bob.call("GET", place + identifier + rest)
    absent = bob.call("GET", place + "nobody-has-this" + rest)

    # Then the answers differ in nothing but the id that he has sent
    assert hidden[0] == absent[0] == 404
    assert str(hidden[1]).replace(identifier, "*") == str(absent[1]).replace("nobody-has-this", "*")
