"""Every deployed route x every kind of caller x every header, against what the policy says."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from lisa.identity import RULES, Rule, Who
from lisa_local.bringup.users import Directory, User, new_password

from tests.access.asking import Client, complaints
from tests.access.callers import Caller, Cell, column, person
from tests.access.forgeries import Forge
from tests.access.samples import TEAM_MODEL, TEAM_REPOSITORY, sample_for
from tests.cloud import TestCloud, eventually

RAG_ADMIN = User("matrix-rag-admin", ("user", "rag-admin"))


def deployed_routes(cloud: TestCloud) -> set[tuple[str, str]]:
    """The routes of the REST API, as API Gateway tells them."""
    api = cloud.outputs["ApiId"]
    pages = cloud.session.client("apigateway").get_paginator("get_resources").paginate(restApiId=api)
    return {
        (method, resource["path"])
        for page in pages
        for resource in page["items"]
        for method in resource.get("resourceMethods", {})
    }


@dataclass(frozen=True)
class Callers:
    people: list[Caller]
    forged: list[Caller]
    alices_token: str


@pytest.fixture(scope="module")
def callers(cloud: TestCloud, forge: Forge) -> Callers:
    people = [
        Caller("alice", cloud.token("alice"), person("alice", "user", "team-a")),
        Caller("bob", cloud.token("bob"), person("bob", "user", "team-b")),
        Caller(RAG_ADMIN.name, rag_admin_token(cloud), person(RAG_ADMIN.name, *RAG_ADMIN.groups)),
        Caller("admin", cloud.token("admin"), person("admin", "admin")),
    ]
    # Holds the forgeries against the fault that each is made for: without one, the same token is good.
    people.append(Caller("the forger without a fault", forge.sign(), person("admin", "admin")))
    forged = [Caller(name, token) for name, token in forge.forgeries().items()]
    keys = ApiTokens(cloud)
    people += [
        keys.own("alice", "user", "team-a"),
        keys.own("bob", "user", "team-b"),
        keys.own("admin", "admin"),
        keys.system("matrix-robot", "user", "team-b"),
    ]
    return Callers(people, [*forged, keys.revoked(), *keys.mistyped()], keys.uuid_of["alice"])


class ApiTokens:
    """Makes API tokens through the API. Each run makes others: a name is unique among its user's."""

    def __init__(self, cloud: TestCloud) -> None:
        self._cloud = cloud
        self.uuid_of: dict[str, str] = {}
        self._secret_of: dict[str, str] = {}

    def own(self, user: str, *groups: str) -> Caller:
        secret = self._create("/api/api-tokens", user, {})
        return Caller(f"{user}, by an API token", secret, person(user, *groups))

    def system(self, name: str, *groups: str) -> Caller:
        body = {"groups": list(groups), "isSystemToken": True}
        secret = self._create(f"/api/api-tokens/{name}", "admin", body, of=name)
        return Caller("a system token", secret, person(name, *groups))

    def revoked(self) -> Caller:
        """An administrator's token that is revoked before it was ever sent."""
        secret = self._create("/api/api-tokens", "admin", {}, of="revoked")
        answer = self._cloud.call("DELETE", f"/api/api-tokens/{self.uuid_of['revoked']}")
        assert answer.status == 200, answer
        return Caller("a revoked API token", secret)

    def mistyped(self) -> list[Caller]:
        good = self._secret_of["admin"]
        other = "A" if good[10] != "A" else "B"
        return [
            Caller("an API token cut off", good[:-1]),
            Caller("an API token with a letter changed", good[:10] + other + good[11:]),
            Caller("an API token in other letters", good.swapcase()),
        ]

    def _create(self, path: str, user: str, body: dict[str, Any], *, of: str = "") -> str:
        name = f"matrix {secrets.token_hex(6)}"
        answer = self._cloud.call("POST", path, user=user, body={"name": name, **body})
        assert answer.status == 201, answer
        self.uuid_of[of or user] = answer.body["tokenUUID"]
        self._secret_of[of or user] = answer.body["token"]
        return str(answer.body["token"])


def rag_admin_token(cloud: TestCloud) -> str:
    password = new_password()
    Directory(cloud.local).make(RAG_ADMIN, password)
    answer = cloud.session.client("cognito-idp").admin_initiate_auth(
        UserPoolId=cloud.outputs["UserPoolId"],
        ClientId=cloud.outputs["ClientId"],
        AuthFlow="ADMIN_USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": RAG_ADMIN.name, "PASSWORD": password},
    )
    return str(answer["AuthenticationResult"]["IdToken"])


@pytest.fixture(scope="module")
def team_model(cloud: TestCloud) -> Iterator[None]:
    """A model in service that only the group team-a may use; nothing listens at its address."""
    body = {
        "modelId": TEAM_MODEL,
        "modelName": "openai/matrix",
        "modelType": "textgen",
        "modelUrl": "http://127.0.0.1:9/v1",
        "apiKey": "sk-matrix",
        "allowedGroups": ["team-a"],
    }
    created = cloud.call("POST", "/api/models", body=body)
    assert created.status == 201, created
    eventually(
        f"{TEAM_MODEL} in service",
        lambda: (
            cloud.call("GET", f"/api/models/{TEAM_MODEL}").body["model"]["status"] == "InService"
            and cloud.call("GET", f"/v1/models/{TEAM_MODEL}", user="alice").status == 200
        ),
        within=90,
    )
    yield
    assert cloud.call("DELETE", f"/api/models/{TEAM_MODEL}").status == 200
    eventually(
        f"{TEAM_MODEL} gone",
        lambda: cloud.call("GET", f"/api/models/{TEAM_MODEL}").status == 404,
        within=90,
    )


@pytest.fixture(scope="module")
def team_repository(cloud: TestCloud) -> Iterator[None]:
    """A repository that only the group team-a may see. It names no embedding model, and so has no collection."""
    body = {"repositoryId": TEAM_REPOSITORY, "type": "pgvector", "rdsConfig": {}, "allowedGroups": ["team-a"]}
    created = cloud.call("POST", "/api/repository", body=body)
    assert created.status == 201, created
    place = f"/api/repository/{TEAM_REPOSITORY}"
    eventually(
        f"{TEAM_REPOSITORY} ready",
        lambda: cloud.call("GET", place).body["status"] == "CREATE_COMPLETE",
        within=90,
    )
    yield
    assert cloud.call("DELETE", place).status == 200
    eventually(f"{TEAM_REPOSITORY} gone", lambda: cloud.call("GET", place).status == 404, within=90)


def test_the_deployed_routes_are_those_of_the_policy(cloud: TestCloud) -> None:
    """The gateway holds its own routes against the policy when it starts (lisa_gateway.gateway)."""
    assert deployed_routes(cloud) == {(rule.method, rule.path) for rule in RULES if rule.door == "api"}


def test_every_caller_gets_what_the_policy_says(
    cloud: TestCloud, callers: Callers, team_model: None, team_repository: None
) -> None:
    # Given everything that is deployed behind the front door, with a harmless call of it
    rules = [Rule("api", method, path, who_of(method, path)) for method, path in deployed_routes(cloud)]
    rules += [rule for rule in RULES if rule.door == "gateway" and rule.path != "/metrics"]

    # When each is called by everybody, in every header
    cells = [
        Cell(rule, sample_for(rule).at(callers.alices_token), caller, credential)
        for rule in sorted(rules, key=lambda rule: (rule.path, rule.method))
        for caller, credential in column(callers.people, callers.forged)
    ]
    found = complaints(Client(cloud.local.config.ports.door), cells)

    # Then
    assert len(cells) > 30 * len(rules)
    assert found == [], f"{len(found)} of {len(cells)} cells:\n" + "\n".join(found[:40])


def who_of(method: str, path: str) -> Who:
    """Whom the policy lets in; a route that it does not know is the test's own failure."""
    found = [rule.who for rule in RULES if (rule.door, rule.method, rule.path) == ("api", method, path)]
    assert found, f"{method} {path} is deployed and has no entry in the policy (lisa.identity.policy)"
    return found[0]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "path",
    ["/api", "/api/unknown", "/api/models/a/b", "/v1/key/generate", "/v2/serve/model/new", "/metrics", "/_lisa/models"],
)  # fmt: skip
def test_what_the_policy_does_not_name_is_not_there(cloud: TestCloud, method: str, path: str) -> None:
    for token in (None, cloud.token("admin")):
        assert cloud.local.call(method, path, token=token).status == 404
