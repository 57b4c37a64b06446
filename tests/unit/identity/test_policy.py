import pytest
from lisa.errors import Forbidden, NotFound, Unauthenticated
from lisa.identity import RULES, Principal, Rule, Who, authorize, rule_for

ALICE = Principal(user="alice", groups=frozenset({"user"}), is_admin=False, expires_at=0)
ADMIN = Principal(user="admin", groups=frozenset({"admin"}), is_admin=True, expires_at=0)


@pytest.mark.parametrize(
    ("door", "method", "path", "who"),
    [
        ("api", "GET", "/api/models", Who.USER),
        ("api", "GET", "/api/models/", Who.USER),
        ("api", "POST", "/api/models", Who.ADMIN),
        ("api", "GET", "/api/models/m1", Who.USER),
        ("api", "DELETE", "/api/models/m1", Who.ADMIN),
        ("api", "GET", "/api/docs", Who.PUBLIC),
        ("gateway", "POST", "/v1/chat/completions", Who.USER),
        ("gateway", "POST", "/v2/serve/chat/completions", Who.USER),
        ("gateway", "POST", "/v2/serve/v1/embeddings", Who.USER),
        ("gateway", "GET", "/v1/models/m1", Who.USER),
        ("gateway", "GET", "/v2/serve/model/info", Who.USER),
        ("gateway", "GET", "/health/readiness", Who.PUBLIC),
    ],
)
def test_routes_have_their_rule(door, method, path, who):
    assert rule_for(door, method, path).who is who


@pytest.mark.parametrize(
    ("door", "method", "path"),
    [
        ("api", "PATCH", "/api/models"),
        ("api", "get", "/api/models"),
        ("api", "GET", "/models"),
        ("api", "GET", "/api/models/a/b"),
        ("api", "GET", "/api/models//"),
        ("api", "GET", "//api/models"),
        ("api", "POST", "/v1/chat/completions"),
        ("gateway", "GET", "/api/models"),
        ("gateway", "GET", "/v1/chat/completions"),
        ("gateway", "POST", "/v1/key/generate"),
        ("gateway", "POST", "/v1/model/new"),
        ("gateway", "GET", "/"),
        ("gateway", "GET", ""),
    ],
)
def test_everything_else_is_denied(door, method, path):
    assert rule_for(door, method, path) is None
    for principal in (None, ALICE, ADMIN):
        with pytest.raises(NotFound):
            authorize(rule_for(door, method, path), principal)


def test_every_rule_admits_exactly_whom_it_names():
    admitted = {
        Who.PUBLIC: {None, "alice", "admin"},
        Who.USER: {"alice", "admin"},
        Who.RAG_ADMIN: {"admin"},
        Who.ADMIN: {"admin"},
    }
    for rule in RULES:
        seen = set()
        for principal in (None, ALICE, ADMIN):
            expected = Unauthenticated if principal is None else Forbidden
            try:
                authorize(rule, principal)
            except expected:
                continue
            else:
                seen.add(principal and principal.user)
        assert seen == admitted[rule.who], rule


def test_only_documentation_and_health_are_public():
    assert {rule.path for rule in RULES if rule.who is Who.PUBLIC} == {
        "/api/openapi.json",
        "/api/docs",
        "/health",
        "/health/liveliness",
        "/health/readiness",
        "/metrics",
    }


def test_nobody_is_lost_between_two_rules_for_one_route():
    keys = [(rule.door, rule.method, rule.path) for rule in RULES]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    ("allowed", "principal", "may"),
    [([], ALICE, True), (["user"], ALICE, True), (["team-b"], ALICE, False), (["team-b"], ADMIN, True)],
)
def test_a_model_is_visible_to_its_groups_and_to_admins(allowed, principal, may):
    assert principal.may_use(allowed) is may


@pytest.mark.parametrize(
    ("principal", "kinds"),
    [
        ({}, {Who.PUBLIC, Who.USER}),
        ({"is_rag_admin": True}, {Who.PUBLIC, Who.USER, Who.RAG_ADMIN}),
        ({"is_admin": True}, {Who.PUBLIC, Who.USER, Who.RAG_ADMIN, Who.ADMIN}),
    ],
)
def test_each_kind_of_caller_is_let_in_by_its_kinds_of_rules_only(principal, kinds):
    caller = Principal(
        **{"user": "u", "groups": frozenset(), "is_admin": False, "expires_at": 0, **principal}
    )
    for who in Who:
        rule = Rule("api", "GET", "/x", who)
        if who in kinds:
            authorize(rule, caller)
        else:
            with pytest.raises(Forbidden):
                authorize(rule, caller)
