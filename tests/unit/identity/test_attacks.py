"""What is tried against verifiers of JSON Web Tokens (RFC 8725 and the CVEs behind it), on ours."""

import base64
import json
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from lisa.errors import LisaError, Unauthenticated
from lisa.identity.tokens import CLOCK_SKEW, MAX_TOKEN_BYTES

from tests.access.forgeries import STRANGER, Forge
from tests.unit.identity.issuer import CLIENT, EC_KEY, OTHER_RSA_KEY, RSA_KEY, Clock, Issuer, public_jwk


def part(content: Any) -> str:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def signed(header: bytes, claims: bytes) -> str:
    """A token of exactly these bytes, with a good signature."""
    content = f"{part(header)}.{part(claims)}"
    return f"{content}.{part(RSA_KEY.sign(content.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


HEADER = b'{"alg":"RS256","kid":"rsa-1"}'


def refused(issuer: Issuer, token: str) -> None:
    with pytest.raises(Unauthenticated):
        issuer.verifier().verify(token)


def test_each_forgery_is_refused_and_the_same_without_its_fault_is_not(issuer):
    forge = Forge(RSA_KEY, "rsa-1", issuer.id_claims())
    assert issuer.verifier().verify(forge.sign()).user == "alice"
    for token in forge.forgeries().values():
        refused(issuer, token)


@pytest.mark.parametrize(
    "algorithm",
    ["HS256", "HS384", "HS512", "none", "nOnE", "", "PS256", "RS384", "EdDSA", None, 5, ["RS256"]],
)
def test_only_the_two_algorithms_are_known_whatever_the_header_says(issuer, algorithm):
    refused(
        issuer,
        signed(
            json.dumps({"alg": algorithm, "kid": "rsa-1"}).encode(), json.dumps(issuer.id_claims()).encode()
        ),
    )


def test_a_key_of_one_kind_does_not_check_a_signature_of_the_other(issuer):
    refused(issuer, issuer.sign(issuer.id_claims(), key=EC_KEY, kid="rsa-1", alg="ES256"))
    refused(issuer, issuer.sign(issuer.id_claims(), key=RSA_KEY, kid="ec-1"))


@pytest.mark.parametrize(
    "kid",
    [
        "../../../../dev/null",
        "/dev/null",
        "rsa-1' OR '1'='1",
        "rsa-1; cat /etc/passwd",
        "http://evil.example/keys",
        "rsa-1\x00",
        "RSA-1",
        " rsa-1",
        "",
        5,
        None,
        ["rsa-1"],
        {"rsa-1": 1},
    ],
)
def test_a_key_is_looked_up_by_its_very_name_among_the_issuers_and_nowhere_else(issuer, kid):
    # When
    header = json.dumps({"alg": "RS256", "kid": kid}).encode()
    refused(issuer, signed(header, json.dumps(issuer.id_claims()).encode()))
    # Then nothing but the issuer's own addresses was asked
    assert all(url.startswith(issuer.url) for url in issuer.asked)


@pytest.mark.parametrize(
    "header",
    [
        {"jwk": public_jwk(STRANGER, "rsa-1")},
        {"jku": "https://evil.example/keys"},
        {"x5u": "https://evil.example/cert"},
        {"x5c": ["MIIB"]},
        {"x5t": "abc"},
    ],
    ids=lambda header: next(iter(header)),
)
def test_what_a_header_offers_in_place_of_the_issuers_key_is_not_used(issuer, header):
    # A stranger's signature stays one, whatever key the token brings or points at
    refused(issuer, issuer.sign(issuer.id_claims(), key=STRANGER, **header))
    # And a good signature needs none of it
    assert issuer.verifier().verify(issuer.sign(issuer.id_claims(), **header)).user == "alice"
    assert all(url.startswith(issuer.url) for url in issuer.asked)


@pytest.mark.parametrize(
    "header", [{"crit": ["b64"], "b64": False}, {"crit": []}, {"b64": False, "crit": ["x"]}]
)
def test_extensions_that_must_be_understood_are_not(issuer, header):
    refused(
        issuer,
        signed(
            json.dumps({"alg": "RS256", "kid": "rsa-1", **header}).encode(),
            json.dumps(issuer.id_claims()).encode(),
        ),
    )


def test_of_a_claim_given_twice_one_counts_for_every_check(issuer):
    """The value that is checked must be the value that is used."""
    claims = json.dumps(issuer.id_claims())[:-1]
    admin = signed(HEADER, f'{claims}, "cognito:groups": ["admin"], "cognito:groups": ["user"]}}'.encode())
    assert not issuer.verifier().verify(admin).is_admin
    refused(issuer, signed(HEADER, f'{claims}, "aud": "{CLIENT}", "aud": "other"}}'.encode()))
    refused(issuer, signed(HEADER, f'{claims}, "exp": 9999999999, "exp": 1}}'.encode()))


@pytest.mark.parametrize(
    "claims",
    [b"[]", b"null", b'"alice"', b"5", b"", b"{", b"\xff\xfe", b"[" * 3000, b'{"iss":' + b"[" * 3000, b"NaN"],
)
def test_claims_that_are_no_object_are_refused(issuer, claims):
    refused(issuer, signed(HEADER, claims))


@pytest.mark.parametrize(
    "header", [b"[]", b"null", b"5", b"", b"\xff", b"[" * 3000, b'{"alg":' + b"[" * 3000]
)
def test_headers_that_are_no_object_are_refused(issuer, header):
    refused(issuer, signed(header, json.dumps(issuer.id_claims()).encode()))


@pytest.mark.parametrize(
    "exp",
    [float("inf"), float("nan"), 1e400, -1, True, "9999999999x", [9999999999], {}, 10**400],
    ids=lambda value: str(value)[:12],
)
def test_an_expiry_that_is_no_time_lets_nobody_in_for_ever(issuer, exp):
    refused(issuer, signed(HEADER, json.dumps(issuer.id_claims(exp=exp)).encode()))


@pytest.mark.parametrize(
    "aud",
    [
        [[CLIENT]],
        {CLIENT: 1},
        [None],
        "",
        CLIENT + " ",
        CLIENT.upper(),
        f"{CLIENT} other",
        [{"aud": CLIENT}],
        5,
    ],
)
def test_an_audience_that_only_looks_like_ours_is_another(issuer, aud):
    refused(issuer, issuer.sign(issuer.id_claims(aud=aud)))


@pytest.mark.parametrize(
    ("claims", "accepted"),
    [
        ({"aud": [CLIENT]}, True),
        ({"aud": [CLIENT], "azp": "other"}, True),  # one audience: we are who it was issued for
        ({"aud": [CLIENT, "other"], "azp": CLIENT}, True),
        ({"aud": [CLIENT, "other"], "azp": "other"}, False),
        ({"aud": [CLIENT, "other"], "azp": [CLIENT]}, False),
        ({"aud": ["other"], "azp": CLIENT}, False),
    ],
)
def test_of_several_audiences_the_authorised_party_decides(issuer, claims, accepted):
    token = issuer.sign(issuer.id_claims(**claims))
    if accepted:
        assert issuer.verifier().verify(token).user == "alice"
    else:
        refused(issuer, token)


@pytest.mark.parametrize("use", ["refresh", "ID", "", 5, ["id"], ["access"], {"id": 1}, True])
def test_a_token_is_used_only_for_what_it_says_it_is_for(issuer, use):
    refused(issuer, issuer.sign(issuer.id_claims(token_use=use, client_id=CLIENT)))


@pytest.mark.parametrize(
    ("claim", "at", "accepted"),
    [
        ("exp", -CLOCK_SKEW + 1, True),
        ("exp", -CLOCK_SKEW - 1, False),
        ("nbf", CLOCK_SKEW - 2, True),
        ("nbf", CLOCK_SKEW + 2, False),
        ("iat", CLOCK_SKEW - 2, True),
        ("iat", CLOCK_SKEW + 2, False),
    ],
)
def test_clocks_may_differ_by_so_much_and_no_more(issuer, claim, at, accepted):
    token = issuer.sign(issuer.id_claims(**{claim: time.time() + at}))
    if accepted:
        issuer.verifier().verify(token)
    else:
        refused(issuer, token)


def test_a_huge_token_is_refused_before_anything_is_decoded_or_fetched(issuer):
    token = issuer.sign(issuer.id_claims(filler="x" * MAX_TOKEN_BYTES))
    refused(issuer, token)
    assert issuer.asked == []


@pytest.mark.parametrize("name", ["bob\n", "alice\x00", "\uff21lice", "a" * 3000])
def test_a_name_is_taken_as_it_is_and_is_nobody_elses(issuer, name):
    """No folding of one name into another: an odd name is refused or stays itself."""
    try:
        who = issuer.verifier().verify(issuer.sign(issuer.id_claims(**{"cognito:username": name})))
    except LisaError:
        return
    assert who.user == name


@pytest.mark.parametrize(
    "groups",
    ["admin ", " admin", "Admin", "admin,user", "admin\x00", ["user,admin"], [["admin"]], {"admin": True}],
)
def test_a_group_that_only_looks_like_the_administrators_is_another(issuer, groups):
    who = issuer.verifier().verify(issuer.sign(issuer.id_claims(**{"cognito:groups": groups})))
    assert not who.is_admin


def test_unknown_key_names_do_not_make_us_ask_the_issuer_each_time():
    """A caller cannot turn us against the issuer, nor learn from the time which keys it has."""
    issuer, clock = Issuer(), Clock()
    verifier = issuer.verifier(clock)
    verifier.verify(issuer.sign(issuer.id_claims()))
    before = len(issuer.asked)
    for number in range(50):
        with pytest.raises(Unauthenticated):
            verifier.verify(issuer.sign(issuer.id_claims(), key=OTHER_RSA_KEY, kid=f"k{number}"))
    assert len(issuer.asked) - before <= 2
