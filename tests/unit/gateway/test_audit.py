"""Sign-ins at the gateway, as the audit log is told of them."""

import pytest
from lisa_gateway.audit import source_ip

from tests.unit.gateway.harness import ISSUER, Running, wait_for


def token(user: str) -> str:
    """A token that nobody has sent before; the gateway is shared by the tests of the folder."""
    return ISSUER.sign(ISSUER.id_claims(**{"cognito:username": user, "cognito:groups": ["user"]}))


def told(gateway: Running, address: str):
    """What was told of an address; the first of it is awaited."""

    def found():
        return [each for event in gateway.audit.events if (each := event.detail())["sourceIp"] == address]

    wait_for(found)
    return found()


def test_a_token_is_one_sign_in_whichever_header_brings_it(gateway):
    # Given a token of somebody who comes by way of two proxies
    secret = token("dora")
    way = {"user-agent": "curl", "x-forwarded-for": "1.1.1.1, 8.8.8.8, 10.42.0.7"}
    # When it comes several times, in every header
    for name, value in (("authorization", f"Bearer {secret}"), ("api-key", secret), ("x-api-key", secret)):
        gateway.request("GET", "/v1/models", token=None, headers={name: value, **way})
    # and then another one, which is told later
    gateway.request("GET", "/v1/models", token=token("emil"), headers={"x-forwarded-for": "9.9.9.9"})
    told(gateway, "9.9.9.9")
    # Then
    (event,) = told(gateway, "8.8.8.8")
    assert event["action"] == "sign-in"
    assert event["actor"] == {"user": "dora", "tokenId": "", "kind": "sign-in"}
    assert (event["door"], event["userAgent"]) == ("gateway", "curl")
    assert secret not in str(event)


def test_a_refused_token_is_told_with_its_reason_and_without_itself(gateway):
    secret = token("forged")[:-8] + "AAAAAAAA"
    for _ in range(3):
        answer = gateway.request("GET", "/v1/models", token=secret, headers={"x-forwarded-for": "8.8.4.4"})
        assert answer.status == 401
    events = told(gateway, "8.8.4.4")
    assert {event["outcome"]["result"] for event in events} == {"denied"}
    assert {event["actor"]["kind"] for event in events} == {"anonymous"}
    assert all(event["outcome"]["error"] for event in events)
    assert len(events) <= 2  # the minute may have changed
    assert secret not in str(events)


@pytest.mark.parametrize(
    ("header", "address"),
    [
        ("", ""),
        ("8.8.8.8", "8.8.8.8"),
        ("1.1.1.1, 8.8.8.8", "8.8.8.8"),
        ("1.1.1.1, 8.8.8.8, 10.42.0.7", "8.8.8.8"),
        ("10.42.0.7", "10.42.0.7"),
        ("2001:4860:4860::8888", "2001:4860:4860::8888"),
        ("<script>", ""),
        ("x" * 10_000, ""),
    ],
)
def test_an_address_is_the_one_that_our_own_proxies_saw(header, address):
    assert source_ip(header) == address
