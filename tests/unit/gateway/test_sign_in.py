"""Who may call: the same for every route and every header."""

import time

import pytest
from lisa.identity import RULES, Who

from tests.unit.gateway.harness import ALICE, BOB, HELLO, ISSUER, running

EXPIRED = ISSUER.sign(ISSUER.id_claims(exp=time.time() - 100))
WRONG_AUDIENCE = ISSUER.sign(ISSUER.id_claims(aud="someone-else"))
BAD = [
    "",
    "nonsense",
    "Bearer",
    "Basic dXNlcjpwYXNz",
    f"Bearer {EXPIRED}",
    f"Bearer {WRONG_AUDIENCE}",
    f"Bearer {ALICE[:-3]}xyz",
    f"Bearer {ALICE} {ALICE}",
    "Bearer ' OR 1=1 --",
    "Bearer \u00e9",
    "Bearer " + "A" * 20_000,
    "Bearer a.b.c",
]
HEADERS = ["Authorization", "authorization", "Api-Key", "x-api-key", "X-API-KEY"]


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("form", ["{}", "Bearer {}", "bearer {}"])
def test_a_token_works_in_every_header_bare_or_after_bearer(gateway, header, form):
    answer = gateway.request("GET", "/v1/models", token=None, headers={header: form.format(ALICE)})
    assert answer.status == 200


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("value", BAD)
def test_a_bad_token_is_refused_in_every_header(gateway, header, value):
    answer = gateway.request("GET", "/v1/models", token=None, headers={header: value.encode("utf-8")})
    assert answer.status == 401
    assert answer.error["code"] == "invalid_api_key"
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["x-request-id"]


def test_two_headers_must_agree(gateway):
    both = {"Authorization": f"Bearer {ALICE}", "Api-Key": ALICE}
    assert gateway.request("GET", "/v1/models", token=None, headers=both).status == 200
    for other in (BOB, "nonsense"):
        mixed = {"Authorization": f"Bearer {ALICE}", "x-api-key": other}
        assert gateway.request("GET", "/v1/models", token=None, headers=mixed).status == 401


def test_a_header_sent_twice_with_different_tokens_is_refused(gateway):
    answer = gateway.raw(
        f"GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ALICE}\r\n"
        f"authorization: Bearer {BOB}\r\n\r\n".encode()
    )
    assert answer.startswith(b"HTTP/1.1 401 ")


def test_every_route_but_the_public_ones_needs_a_token(gateway):
    """The matrix over the policy itself: a route added without a thought is covered by it."""
    for rule in RULES:
        if rule.door != "gateway":
            continue
        path = rule.path.replace("{modelId}", "m")
        for headers in ({}, {"Authorization": "Bearer x.y.z"}, {"Api-Key": EXPIRED}, {"x-api-key": "sk-123"}):
            answer = gateway.request(
                rule.method,
                path,
                token=None,
                headers=headers,
                body={"model": "m"} if rule.method == "POST" else None,
            )
            if rule.who is Who.PUBLIC:
                assert answer.status == 200, rule
            else:
                assert answer.status == 401, rule
    assert gateway.upstream.asked == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/key/generate", 404),
        ("POST", "/v1/model/new", 404),
        ("GET", "/v1/key/list", 404),
        ("GET", "/", 404),
        ("GET", "/v1", 404),
        ("GET", "/docs", 404),
        ("GET", "/_lisa/models", 404),
        ("PUT", "/_lisa/models", 404),
        ("GET", "/v1/chat/completions", 405),
        ("POST", "/v1/models", 405),
        ("DELETE", "/v1/models/m", 405),
        ("OPTIONS", "/v1/models", 405),
        ("POST", "//v1/chat/completions", 404),
        ("POST", "/v1/../v1/chat/completions", 404),
        ("POST", "/V1/chat/completions", 404),
        ("POST", "/v1/chat%2Fcompletions", 404),
        ("GET", "/api/models", 404),
        ("POST", "/health", 405),
    ],
)
def test_what_the_policy_does_not_name_is_not_there(gateway, method, path, status):
    answer = gateway.request(
        method, path, body={"model": "m", "messages": HELLO} if method == "POST" else None
    )
    assert answer.status == status
    assert set(answer.error) == {"message", "type", "param", "code"}
    assert gateway.upstream.asked == []


def test_a_token_is_verified_once_and_then_known(gateway):
    token = ISSUER.sign(ISSUER.id_claims(jti="once"))
    for _ in range(3):
        assert gateway.request("GET", "/v1/models", token=token).status == 200
    before = len(ISSUER.asked)
    gateway.request("GET", "/v1/models", token=token)
    assert len(ISSUER.asked) == before


def test_who_called_is_in_the_log_and_the_token_is_not(gateway):
    gateway.chat(token=BOB)
    gateway.request("GET", "/v1/models", token="sk-never-log-me")
    lines = gateway.lines()
    assert lines[-2]["user"] == "bob"
    assert lines[-1]["status"] == 401
    text = gateway.log.getvalue()
    assert b"sk-never-log-me" not in text
    assert BOB.encode() not in text


def test_when_the_issuer_cannot_be_reached_the_answer_is_503_and_not_401():
    with running() as gateway:
        ISSUER.down = True
        try:
            answer = gateway.request("GET", "/v1/models")
        finally:
            ISSUER.down = False
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) > 0
