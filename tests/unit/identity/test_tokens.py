import base64
import json
import time

import jwt
import pytest
from lisa.errors import Forbidden, Unauthenticated, Unavailable
from lisa.identity import bearer_token
from lisa.identity.tokens import TokenCache, groups_of

from tests.unit.identity.issuer import CLIENT, EC_KEY, OTHER_RSA_KEY, RSA_KEY, Clock, Issuer, public_jwk


def encode(part: dict) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def test_cognito_id_token_speaks_for_its_user(issuer):
    who = issuer.verifier().verify(issuer.sign(issuer.id_claims()))
    assert (who.user, who.groups, who.is_admin) == ("alice", {"user", "team-a"}, False)


def test_cognito_access_token_speaks_for_its_user(issuer):
    who = issuer.verifier().verify(issuer.sign(issuer.access_claims(**{"cognito:groups": ["admin"]})))
    assert (who.user, who.groups, who.is_admin) == ("alice", {"admin"}, True)


def test_token_of_another_kind_of_issuer_with_nested_groups_and_an_elliptic_key():
    # Given an issuer in Keycloak's style: no token_use, audiences in a list, roles in an object
    issuer = Issuer(url="https://sso.example.org/realms/lab")
    claims = issuer.id_claims(
        token_use=None,
        aud=["other", CLIENT],
        azp=CLIENT,
        realm_access={"roles": ["staff"]},
        **{"cognito:username": None, "cognito:groups": None},
    )
    # When
    verifier = issuer.verifier(groups_claim="realm_access.roles", admin_group="staff")
    who = verifier.verify(issuer.sign(claims, key=EC_KEY, kid="ec-1", alg="ES256"))
    # Then
    assert (who.user, who.groups, who.is_admin) == ("sub-alice", {"staff"}, True)


def test_a_user_without_groups_has_none(issuer):
    assert (
        issuer.verifier().verify(issuer.sign(issuer.id_claims(**{"cognito:groups": None}))).groups
        == frozenset()
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_other"},
        {"iss": "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_pool/"},
        {"iss": None},
        {"exp": time.time() - 60},
        {"exp": None},
        {"exp": "tomorrow"},
        {"nbf": time.time() + 86_400},
        {"iat": time.time() + 86_400},
        {"iat": None},
        {"sub": None},
        {"aud": "another-client"},
        {"aud": None},
        {"aud": [CLIENT, "other"], "azp": "other"},
        {"aud": []},
        {"token_use": "refresh"},
        {"token_use": "access"},  # an id token that claims to be an access token has no client_id
        {"token_use": ["id"]},
        {"cognito:username": None, "sub": 5},
    ],
)
def test_an_id_token_with_a_wrong_claim_is_refused(issuer, changes):
    with pytest.raises(Unauthenticated):
        issuer.verifier().verify(issuer.sign(issuer.id_claims(**changes)))


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "another-client"},
        {"client_id": None},
        {"client_id": None, "aud": CLIENT},
        {"token_use": "id"},  # an access token has no audience
        {"token_use": None},
    ],
)
def test_an_access_token_with_a_wrong_claim_is_refused(issuer, changes):
    with pytest.raises(Unauthenticated):
        issuer.verifier().verify(issuer.sign(issuer.access_claims(**changes)))


def test_a_little_clock_skew_is_forgiven(issuer):
    assert issuer.verifier().verify(issuer.sign(issuer.id_claims(exp=time.time() - 5))).user == "alice"


def test_unsigned_and_symmetric_tokens_are_refused(issuer):
    claims = issuer.id_claims()
    unsigned = f"{encode({'alg': 'none', 'kid': 'rsa-1'})}.{encode(claims)}."
    public = json.dumps(issuer.keys[0])
    symmetric = jwt.encode(claims, "x" * 64, algorithm="HS256", headers={"kid": "rsa-1"})
    rs512 = jwt.encode(claims, RSA_KEY, algorithm="RS512", headers={"kid": "rsa-1"})
    assert public
    for token in (unsigned, unsigned.replace("none", "None"), symmetric, rs512):
        with pytest.raises(Unauthenticated):
            issuer.verifier().verify(token)


def test_the_algorithm_must_be_that_of_the_key(issuer):
    token = issuer.sign(issuer.id_claims(), key=RSA_KEY, kid="ec-1", alg="RS256")
    with pytest.raises(Unauthenticated):
        issuer.verifier().verify(token)


@pytest.mark.parametrize(
    ("key", "kid"), [(OTHER_RSA_KEY, "rsa-1"), (OTHER_RSA_KEY, "rsa-2"), (RSA_KEY, None)]
)
def test_a_token_signed_by_another_key_is_refused(issuer, key, kid):
    with pytest.raises(Unauthenticated):
        issuer.verifier().verify(issuer.sign(issuer.id_claims(), key=key, kid=kid))


def test_a_key_inside_the_token_is_not_used(issuer):
    token = issuer.sign(
        issuer.id_claims(),
        key=OTHER_RSA_KEY,
        kid="rsa-1",
        jwk=public_jwk(OTHER_RSA_KEY, "rsa-1"),
        jku="https://evil.example/keys",
    )
    with pytest.raises(Unauthenticated):
        issuer.verifier().verify(token)


def test_critical_extensions_are_refused(issuer):
    with pytest.raises(Unauthenticated):
        issuer.verifier().verify(issuer.sign(issuer.id_claims(), crit=["exp2"], exp2=1))


@pytest.mark.parametrize(
    "token", ["", "x", "a.b.c", "..", "a.b.c.d", "é.é.é", "\ud800", "null", "e30.e30.e30", "x" * 20_000]
)
def test_what_is_no_token_is_refused(issuer, token):
    with pytest.raises(Unauthenticated):
        issuer.verifier().verify(token)


def test_every_flipped_character_breaks_the_token(issuer):
    verifier, token = issuer.verifier(), issuer.sign(issuer.id_claims())
    verifier.verify(token)
    for at in range(0, len(token) - 2, 7):
        broken = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        with pytest.raises(Unauthenticated):
            verifier.verify(broken)


def test_a_cached_token_needs_no_keys_and_one_with_the_same_beginning_is_not_taken_for_it(issuer):
    # Given a token that has been verified
    verifier = issuer.verifier()
    token = issuer.sign(issuer.id_claims())
    who = verifier.verify(token)
    # Then it is known without a further look
    assert verifier.cached(token.encode()) is who
    # And a token that differs only in its end is not
    assert verifier.cached((token[:-4] + "AAAA").encode()) is None
    with pytest.raises(Unauthenticated):
        verifier.verify(token[:-4] + "AAAA")


def test_a_cached_token_stops_at_its_expiry(issuer):
    clock = Clock()
    verifier = issuer.verifier(clock)
    token = issuer.sign(issuer.id_claims(exp=time.time() + 60))
    verifier.verify(token)
    clock.now += 59
    assert verifier.cached(token.encode()) is not None
    clock.now += 32
    assert verifier.cached(token.encode()) is None


def test_the_cache_is_bounded_and_forgets_the_oldest(issuer):
    cache = TokenCache(size=3)
    verifier = issuer.verifier(cache=cache)
    tokens = [issuer.sign(issuer.id_claims(jti=str(n))) for n in range(5)]
    for token in tokens:
        verifier.verify(token)
    assert len(cache) == 3
    assert [verifier.cached(token.encode()) is not None for token in tokens] == [
        False,
        False,
        True,
        True,
        True,
    ]


def test_a_withdrawn_key_stops_being_honoured(issuer):
    # Given a token verified with a key that the issuer then withdraws
    clock = Clock()
    verifier = issuer.verifier(clock)
    token = issuer.sign(issuer.id_claims())
    verifier.verify(token)
    issuer.keys = [public_jwk(OTHER_RSA_KEY, "rsa-2")]
    # When the cached answer and the keys have aged
    clock.now += 1000
    # Then
    with pytest.raises(Unauthenticated):
        verifier.verify(token)


def test_the_client_may_come_from_a_parameter_read_once(issuer):
    names = []
    verifier = issuer.verifier(client_id="", client_id_parameter="/lisa/sign-in/client-id")
    verifier._parameters = lambda name: names.append(name) or CLIENT
    assert not names
    for n in range(2):
        verifier.verify(issuer.sign(issuer.id_claims(jti=str(n))))
    assert names == ["/lisa/sign-in/client-id"]


def test_a_client_that_cannot_be_read_yet_is_asked_for_again(issuer):
    answers = [ConnectionError("no SSM"), CLIENT]

    def parameters(name):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    verifier = issuer.verifier(client_id="", client_id_parameter="/p")
    verifier._parameters = parameters
    with pytest.raises(Unavailable):
        verifier.verify(issuer.sign(issuer.id_claims()))
    assert verifier.verify(issuer.sign(issuer.id_claims())).user == "alice"


def test_who_is_outside_the_users_group_is_forbidden_and_admins_are_not(issuer):
    verifier = issuer.verifier(user_group="lisa-users")
    with pytest.raises(Forbidden, match="lisa-users"):
        verifier.verify(issuer.sign(issuer.id_claims()))
    assert (
        verifier.verify(issuer.sign(issuer.id_claims(**{"cognito:groups": ["lisa-users"]}))).user == "alice"
    )
    assert verifier.verify(issuer.sign(issuer.id_claims(**{"cognito:groups": ["admin"]}))).is_admin


@pytest.mark.parametrize(
    ("claims", "path", "groups"),
    [
        ({"cognito:groups": ["a", "b"]}, "cognito:groups", {"a", "b"}),
        ({"https://x.example/groups": ["a"]}, "https://x.example/groups", {"a"}),
        ({"a": {"b": {"c": ["g"]}}}, "a.b.c", {"g"}),
        ({"a": {"b": "one"}}, "a.b", {"one"}),
        ({"a": ["b"]}, "a.b", set()),
        ({"a": {"b": {"c": 1}}}, "a.b", set()),
        ({"g": ["ok", 5, None, "", ["x"]]}, "g", {"ok"}),
        ({}, "a.b", set()),
    ],
)
def test_groups_are_found_at_a_dotted_path(claims, path, groups):
    assert groups_of(claims, path) == groups


@pytest.mark.parametrize("value", ["abc", "Bearer abc", "bearer abc", "BEARER  abc", " Bearer abc ", "abc\t"])
def test_a_header_holds_a_token_bare_or_after_bearer(value):
    assert bearer_token(value) == "abc"


@pytest.mark.parametrize(
    "value",
    ["", "Bearer", "Bearer ", "Basic dXNlcg==", "Bearer a b", "Bearer a\x00b", "ab\ncd", "tök", "a,b c"],
)
def test_a_header_without_one_token_is_refused(value):
    with pytest.raises(Unauthenticated):
        bearer_token(value)
