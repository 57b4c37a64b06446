"""Sign-in at a generic OpenID Connect provider: another program's server, a real authorization-code flow.

The provider does not check the PKCE verifier that is sent along, and does not name its only key in its tokens.
"""

import base64
import hashlib
import json
import secrets
import threading
import urllib.parse
import urllib.request
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from lisa.errors import Unauthenticated
from lisa.identity import IdentitySettings, TokenVerifier
from lisa.identity.keys import KeySet, fetch_json

from tests.unit.gateway.harness import HELLO, running
from tests.unit.identity.issuer import RSA_KEY, Issuer

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it uses a part of authlib that is going to move
    from oidc_provider_mock import User, run_server_in_thread

CLIENT = "lisa"
BACK = "http://localhost/signed-in"
PEOPLE = (
    User(sub="carol", claims={"realm_access": {"roles": ["team-a"]}}),
    User(sub="dave", claims={"realm_access": {"roles": ["operators"]}}),
)


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    with run_server_in_thread(user_claims=PEOPLE) as server:
        yield f"http://localhost:{server.server_port}"


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def sign_in(provider: str, user: str, client: str = CLIENT) -> dict[str, Any]:
    """What a browser and an application do together, by the addresses that discovery gives."""
    found = fetch_json(f"{provider}/.well-known/openid-configuration")
    verifier, nonce = secrets.token_urlsafe(48), secrets.token_urlsafe(8)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    asked = {
        "client_id": client, "response_type": "code", "redirect_uri": BACK, "scope": "openid", "state": "s",
        "nonce": nonce, "code_challenge": challenge, "code_challenge_method": "S256",
    }  # fmt: skip
    form = urllib.request.Request(
        f"{found['authorization_endpoint']}?{urllib.parse.urlencode(asked)}", data=f"sub={user}".encode()
    )
    with pytest.raises(urllib.error.HTTPError) as redirect:
        urllib.request.build_opener(_Stay).open(form, timeout=10)
    answer = urllib.parse.parse_qs(urllib.parse.urlsplit(redirect.value.headers["location"]).query)
    given = {
        "grant_type": "authorization_code", "code": answer["code"][0], "redirect_uri": BACK, "client_id": client,
        "client_secret": "unchecked", "code_verifier": verifier,
    }  # fmt: skip
    data = urllib.parse.urlencode(given).encode()
    with urllib.request.urlopen(found["token_endpoint"], data=data, timeout=10) as response:
        return dict(json.load(response))


def settings(provider: str) -> IdentitySettings:
    return IdentitySettings(
        issuer=provider, client_id=CLIENT, groups_claim="realm_access.roles", admin_group="operators"
    )


def test_a_sign_in_there_speaks_for_its_user_with_nested_groups(provider):
    verifier = TokenVerifier(settings(provider))
    carol = verifier.verify(sign_in(provider, "carol")["id_token"])
    assert (carol.user, carol.groups, carol.is_admin) == ("carol", {"team-a"}, False)
    dave = verifier.verify(sign_in(provider, "dave")["id_token"])
    assert (dave.user, dave.is_admin) == ("dave", True)


def test_what_is_not_for_us_or_no_token_of_that_kind_is_refused(provider):
    verifier = TokenVerifier(settings(provider))
    with pytest.raises(Unauthenticated, match="another application"):
        verifier.verify(sign_in(provider, "carol", client="another")["id_token"])
    with pytest.raises(Unauthenticated, match="JSON Web Token"):
        verifier.verify(sign_in(provider, "carol")["access_token"])  # an opaque one
    other = Issuer(url=provider)
    with pytest.raises(Unauthenticated, match="known key"):
        verifier.verify(other.sign(other.id_claims(aud=CLIENT, token_use=None)))
    with pytest.raises(Unauthenticated, match="not valid"):
        verifier.verify(other.sign(other.id_claims(aud=CLIENT, token_use=None), key=RSA_KEY, kid=None))


def test_two_issuers_do_not_take_each_others_tokens(provider):
    # Given verifiers for the provider and for a pool of Cognito's
    pool = Issuer()
    token = sign_in(provider, "carol")["id_token"]
    # When, Then
    with pytest.raises(Unauthenticated):
        pool.verifier().verify(token)
    with pytest.raises(Unauthenticated):
        TokenVerifier(settings(provider)).verify(pool.sign(pool.id_claims()))


def test_however_many_come_first_the_keys_are_fetched_once(provider):
    # Given a cold verifier, and as many sign-ins as threads
    tokens = [sign_in(provider, "carol")["id_token"] for _ in range(16)]
    fetched: list[str] = []
    together = threading.Barrier(len(tokens))

    def fetch(url: str) -> Any:
        fetched.append(url)
        return fetch_json(url)

    verifier = TokenVerifier(settings(provider), keys=KeySet(provider, fetch=fetch))
    who: list[Any] = []

    def call(token: str) -> None:
        together.wait(10)
        who.append(verifier.verify(token))

    # When all arrive at once
    threads = [threading.Thread(target=call, args=(token,)) for token in tokens]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    # Then
    assert [principal.user for principal in who] == ["carol"] * len(tokens)
    assert fetched == [f"{provider}/.well-known/openid-configuration", f"{provider}/jwks"]


def test_a_gateway_that_trusts_it_lets_its_people_in(provider):
    verifier = TokenVerifier(settings(provider))
    with running(verifier=verifier) as gateway:
        token = sign_in(provider, "carol")["id_token"]
        answer = gateway.request(
            "POST", "/v1/chat/completions", token=token, body={"model": "m", "messages": HELLO}
        )
        assert answer.status == 200
        assert gateway.lines()[-1]["user"] == "carol"
        stranger = Issuer()
        assert gateway.request("GET", "/v1/models", token=stranger.sign(stranger.id_claims())).status == 401
