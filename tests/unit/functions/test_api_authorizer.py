import fnmatch
import re

import pytest
from lisa import aws
from lisa.api.authorizer import allow
from lisa.api.caller import from_context
from lisa.errors import Forbidden, Unauthenticated, Unavailable
from lisa.identity.policy import RULES, Who
from lisa.identity.principal import Principal
from lisa.tokens.format import new_token
from lisa.tokens.schema import CreateToken
from lisa.tokens.service import TokenRules, TokenService
from lisa.tokens.store import TokenStore

from tests.unit.functions.conftest import TOKENS_TABLE, Context
from tests.unit.functions.samples import logged, sample

ALICE = Principal(
    user="alice", groups=frozenset({"user", "team,a"}), is_admin=False, expires_at=4_000_000_000
)
ADMIN = Principal(user="admin", groups=frozenset({"admin"}), is_admin=True, expires_at=4_000_000_000)
ARN = "arn:aws:execute-api:us-east-1:111122223333:abcdefghij/lisa"


class Verifier:
    api_tokens = None

    def __init__(self, answer: Principal | Exception) -> None:
        self.answer = answer
        self.seen: list[str] = []

    def verify(self, token: str) -> Principal:
        self.seen.append(token)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def authorize(load):
    """Runs the function with a verifier that gives `answer`; returns what it answers and the tokens it saw."""
    module = load("api_authorizer")

    def run(answer, headers=None):
        module.verifier = Verifier(answer)
        event = sample("api_authorizer")
        if headers is not None:
            event["headers"] = headers
        return module.handler(event, Context()), module.verifier.seen

    return run


def allows(policy, method, path):
    effects = {
        part["Effect"]
        for part in policy["policyDocument"]["Statement"]
        for resource in part["Resource"]
        if fnmatch.fnmatchcase(f"{ARN}/{method}{path}", resource)
    }
    return effects == {"Allow"}


@pytest.mark.parametrize("principal", [ALICE, ADMIN], ids=lambda principal: principal.user)
def test_the_policy_covers_the_whole_api_for_who_calls_and_nothing_more(principal):
    # API Gateway keeps it for the caller's next call, to whatever route.
    policy = allow(principal, f"{ARN}/GET/api/models")
    for rule in RULES:
        if rule.door != "api" or rule.who is Who.PUBLIC:
            continue
        path = re.sub(r"\{\w+\}", "something", rule.path)
        # Writes reach their functions, which refuse by the same table: so a refusal is in the audit log.
        passes = rule.method != "GET" or rule.who is Who.USER or principal.is_admin
        assert allows(policy, rule.method, path) == passes, rule
    assert not allows(policy, "PATCH", "/api/models")
    assert not allows(policy, "GET", "/api/elsewhere")


@pytest.mark.parametrize("principal", [ALICE, ADMIN], ids=lambda principal: principal.user)
def test_the_functions_see_the_caller_whom_the_authorizer_saw(authorize, principal):
    answer, _ = authorize(principal)
    assert all(isinstance(value, str) for value in answer["context"].values())
    assert from_context(answer["context"]) == principal


def test_without_an_authorizers_word_nobody_is_anybody():
    with pytest.raises(Unauthenticated):
        from_context({})


@pytest.mark.parametrize("name", ["Authorization", "authorization", "AUTHORIZATION"])
@pytest.mark.parametrize("value", ["the.token", "Bearer the.token", "bearer the.token"])
def test_the_header_is_read_in_every_way_clients_write_it(authorize, name, value):
    _, seen = authorize(ALICE, {name: value})
    assert seen == ["the.token"]


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": ""}, {"Authorization": "Bearer "}, {"X-Token": "t"}]
)
def test_no_token_is_unauthorized(authorize, headers):
    with pytest.raises(Exception, match=r"^Unauthorized$"):
        authorize(ALICE, headers)


@pytest.fixture
def told(load, monkeypatch):
    """The audit events that a door has told, as they stand on the bus."""
    events = []
    monkeypatch.setattr(
        "lisa.audit.publisher.AuditPublisher.publish",
        lambda self, found: events.extend(event.detail() for event in found),
    )
    return events


def test_a_token_accepted_for_the_first_time_is_a_sign_in_and_later_it_is_none(load, told):
    module = load("api_authorizer")
    module.verifier = Verifier(ALICE)
    for _ in range(3):
        module.handler(sample("api_authorizer"), Context())
    (event,) = told
    assert event["action"] == "sign-in"
    assert event["actor"] == {"user": "alice", "tokenId": "", "kind": "sign-in"}
    assert event["outcome"]["result"] == "success"
    assert event["door"] == "api"
    assert event["sourceIp"] == "192.0.2.1"
    assert "<token>" not in str(event)


def test_a_refused_token_is_told_with_its_reason_and_once_a_minute(load, told):
    module = load("api_authorizer")
    module.verifier = Verifier(Unauthenticated("The token has expired; sign in again."))
    for _ in range(3):
        with pytest.raises(Exception, match=r"^Unauthorized$"):
            module.handler(sample("api_authorizer"), Context())
    # The minute may have changed in between
    assert {event["outcome"]["error"] for event in told} == {"The token has expired; sign in again."}
    assert {event["outcome"]["result"] for event in told} == {"denied"}
    assert len(told) <= 2


def test_a_token_that_could_not_be_checked_is_in_no_audit_log(load, told):
    module = load("api_authorizer")
    module.verifier = Verifier(Unavailable("The issuer's keys cannot be fetched"))
    with pytest.raises(Unavailable):
        module.handler(sample("api_authorizer"), Context())
    assert told == []


def test_a_bad_token_is_unauthorized_in_api_gateways_word(authorize):
    with pytest.raises(Exception, match=r"^Unauthorized$"):
        authorize(Unauthenticated("The token has expired"))


def test_keys_that_cannot_be_fetched_are_no_verdict_on_the_token(authorize):
    with pytest.raises(Unavailable):
        authorize(Unavailable("The issuer's keys cannot be fetched"))


def test_the_token_is_not_in_the_log(authorize, caplog):
    authorize(ALICE, {"Authorization": "Bearer very.secret.token"})
    with pytest.raises(Exception, match=r"^Unauthorized$"):
        authorize(Unauthenticated("no"), {"Authorization": "Bearer very.secret.token"})
    assert [record.message for record in caplog.records[:2]] == ["admitted", "refused"]
    assert "very.secret.token" not in logged(caplog)


def test_somebody_outside_the_user_group_is_denied_everything_and_not_taken_for_unknown(authorize):
    # When the token is good and its owner may not use this deployment
    policy, _ = authorize(Forbidden("Only members of the group staff may use this."))
    # Then API Gateway answers 403, for every route
    (statement,) = policy["policyDocument"]["Statement"]
    assert statement["Effect"] == "Deny"
    assert all(resource.endswith("/*") for resource in statement["Resource"])
    assert not any(allows(policy, rule.method, rule.path) for rule in RULES)


def test_an_api_token_is_looked_up_and_its_use_written_down_before_the_answer(load):
    # Given a token of alice's in the table
    module = load("api_authorizer")
    store = TokenStore(TOKENS_TABLE, aws.dynamodb())
    service = TokenService(TokenRules(), store)
    made = service.create_own(ALICE, CreateToken(name="n", groups=["user"]))
    event = sample("api_authorizer") | {"headers": {"Authorization": f"Bearer {made.token}"}}

    # When
    answer = module.handler(event, Context())

    # Then
    who = from_context(answer["context"])
    assert (who.user, who.groups, who.token_id) == ("alice", {"user"}, made.token_uuid)
    assert service.get(ALICE, made.token_uuid).last_used is not None


def test_a_table_of_tokens_that_is_away_is_no_verdict_on_a_token(load):
    module = load("api_authorizer")
    aws.dynamodb().delete_table(TableName=TOKENS_TABLE)
    event = sample("api_authorizer") | {"headers": {"Authorization": new_token()}}
    with pytest.raises(Unavailable):
        module.handler(event, Context())
