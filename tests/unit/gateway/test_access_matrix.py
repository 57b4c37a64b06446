"""Every route of the gateway x every kind of token x every header, against what the policy says."""

from collections.abc import Iterator

import pytest
from lisa.identity import RULES

from tests.access.asking import Client, complaints
from tests.access.callers import CREDENTIALS, NO_TOKEN, Caller, Cell, person
from tests.access.forgeries import Forge
from tests.access.samples import TEAM_MODEL, sample_for
from tests.unit.gateway.harness import ISSUER, Running, route, running
from tests.unit.identity.issuer import RSA_KEY

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


@pytest.fixture(scope="module")
def guarded() -> Iterator[Running]:
    with running(routes=lambda port: [route(TEAM_MODEL, groups=("team-a",), port=port)]) as value:
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
