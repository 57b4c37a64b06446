"""Every route of the gateway x every kind of token x every header, against what the policy says."""

from collections.abc import Iterator

import pytest
from lisa.identity import RULES, IdentitySettings, TokenVerifier
from lisa.identity.keys import KeySet
from lisa.tokens.format import new_token
from lisa.tokens.lookup import ApiTokens

from tests.access.asking import Client, complaints
from tests.access.callers import CREDENTIALS, NO_TOKEN, Caller, Cell, person
from tests.access.forgeries import Forge
from tests.access.samples import TEAM_MODEL, sample_for
from tests.unit.gateway.harness import ISSUER, Running, route, running
from tests.unit.identity.issuer import CLIENT, RSA_KEY
from tests.unit.tokens.rows import Rows

RULES_HERE = [rule for rule in RULES if rule.door == "gateway"]
FORGE = Forge(RSA_KEY, "rsa-1", ISSUER.id_claims(**{"cognito:username": "root", "cognito:groups": ["admin"]}))
FORGED = [Caller(name, token) for name, token in FORGE.forgeries().items()]


def signed_in(user: str, *groups: str) -> Caller:
    claims = ISSUER.id_claims(**{"cognito:username": user, "cognito:groups": list(groups)})
    return Caller(user, ISSUER.sign(claims), person(user, *groups))


PEOPLE = [
    signed_in("alice", "user", "team-a"),
    signed_in("bob", "user", "team-b"),
    signed_in("nobody-in-particular"),
    signed_in("rag-admin", "user", "rag-admin"),
    signed_in("root", "admin"),
    Caller(
        "alice, by an access token",
        ISSUER.sign(ISSUER.access_claims(username="alice", **{"cognito:groups": ["team-a"]})),
        person("alice", "team-a"),
    ),
    # Holds the forgeries against the fault that each is made for: without one, the same token is good.
    Caller("the forger without a fault", FORGE.sign(), person("root", "admin")),
]


ROWS = Rows()


def by_key(name: str, user: str, *groups: str, **changes: object) -> Caller:
    return Caller(name, ROWS.add(*groups, user=user, **changes), person(user, *groups))


PEOPLE += [
    by_key("alice, by an API token", "alice", "user", "team-a"),
    by_key("alice, by an API token without the team", "alice", "user"),
    by_key("bob, by an API token", "bob", "user", "team-b"),
    by_key("root, by an API token", "root", "admin"),
    by_key("a system token", "robot", "team-a", is_system=True),
]
GOOD_KEY = PEOPLE[-2].token
FORGED += [
    Caller("an expired API token", ROWS.add("admin", expires_at=1)),
    Caller("an API token whose maker's is revoked", ROWS.add("admin", ancestors=("0" * 64,))),
    Caller("an API token that nobody has issued (or that was revoked)", new_token()),
    Caller("an API token cut off", GOOD_KEY[:-1]),
    Caller(
        "an API token with a letter changed",
        GOOD_KEY[:10] + ("A" if GOOD_KEY[10] != "A" else "B") + GOOD_KEY[11:],
    ),
]


@pytest.fixture(scope="module")
def guarded() -> Iterator[Running]:
    verifier = TokenVerifier(
        IdentitySettings(issuer=ISSUER.url, client_id=CLIENT),
        keys=KeySet(ISSUER.url, "http://keys", fetch=ISSUER.fetch),
        api_tokens=ApiTokens(lambda: ROWS),
    )
    routes = lambda port: [route(TEAM_MODEL, groups=("team-a",), port=port)]  # noqa: E731
    with running(verifier=verifier, routes=routes) as value:
        yield value


@pytest.mark.parametrize("rule", RULES_HERE, ids=lambda rule: f"{rule.method} {rule.path}")
def test_every_caller_gets_what_the_policy_says_by_every_header(guarded, rule):
    sample = sample_for(rule)
    cells = [Cell(rule, sample, Caller("nobody", ""), NO_TOKEN)]
    cells += [
        Cell(rule, sample, caller, credential) for caller in PEOPLE + FORGED for credential in CREDENTIALS
    ]
    assert complaints(Client(guarded.port), cells) == []
    assert guarded.upstream.asked == []
