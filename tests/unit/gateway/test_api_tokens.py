"""API tokens at the gateway: every header, the models of their groups, a table that is away."""

import hashlib
import threading

import pytest
from lisa.identity import IdentitySettings, TokenVerifier
from lisa.identity.keys import KeySet
from lisa.tokens.format import new_token
from lisa.tokens.lookup import ApiTokens

from tests.unit.gateway.harness import ALICE, ISSUER, route, running, wait_for
from tests.unit.identity.issuer import CLIENT
from tests.unit.tokens.rows import Rows


@pytest.fixture
def rows():
    return Rows()


@pytest.fixture
def gateway(rows):
    verifier = TokenVerifier(
        IdentitySettings(issuer=ISSUER.url, client_id=CLIENT),
        keys=KeySet(ISSUER.url, "http://keys", fetch=ISSUER.fetch),
        api_tokens=ApiTokens(lambda: rows),
    )
    routes = lambda port: [route("m", port=port), route("secret", port=port, groups=("team-a",))]  # noqa: E731
    with running(verifier=verifier, routes=routes) as running_gateway:
        yield running_gateway


@pytest.mark.parametrize("header", ["Authorization", "Api-Key", "x-api-key"])
@pytest.mark.parametrize("form", ["{}", "Bearer {}"])
def test_a_token_works_in_every_header(gateway, rows, header, form):
    token = rows.add("user")
    assert gateway.chat(token=None, headers={header: form.format(token)}).status == 200
    assert gateway.lines()[-1]["user"] == "alice"


def test_two_tokens_that_differ_are_refused_however_good(gateway, rows):
    one, two = rows.add("user"), rows.add("user")
    for first, second in ((one, two), (one, ALICE), (ALICE, one)):
        answer = gateway.request("GET", "/v1/models", token=first, headers={"x-api-key": second})
        assert answer.status == 401


def test_a_token_sees_the_models_of_its_groups(gateway, rows):
    wide, narrow = rows.add("team-a"), rows.add("user")
    assert gateway.chat(token=wide, model="secret").status == 200
    assert gateway.chat(token=narrow, model="secret").status == 404
    listed = gateway.request("GET", "/v1/models", token=narrow).json["data"]
    assert [model["id"] for model in listed] == ["m"]


def test_unknown_and_mistyped_tokens_are_refused_with_one_status(gateway, rows):
    good = rows.add("user")
    for token in (new_token(), good[:-1] + ("0" if good[-1] != "0" else "1"), "lisa_", "lisa_x"):
        assert gateway.chat(token=token).status == 401


def test_a_table_that_is_away_is_503_with_retry_after_and_sign_ins_go_on(gateway, rows):
    rows.down = True
    answer = gateway.chat(token=rows.add("user"))
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) > 0
    assert gateway.upstream.asked == []
    assert gateway.chat(token=ALICE).status == 200


def test_a_slow_table_keeps_no_sign_in_waiting(gateway, rows):
    # Given lookups that hang, as many as there are threads for them and more
    release = threading.Event()
    held = rows.by_digest

    def slow(digest):
        assert release.wait(20)
        return held(digest)

    rows.by_digest = slow
    token = rows.add("user")
    statuses = []
    callers = [
        threading.Thread(
            target=lambda: statuses.append(
                gateway.request("GET", "/v1/models", token=token, timeout=30).status
            )
        )
        for _ in range(8)
    ]
    for caller in callers:
        caller.start()
    try:
        # When somebody signs in whom the gateway has not seen, Then they are answered
        fresh = ISSUER.sign(ISSUER.id_claims(jti="fresh"))
        assert gateway.chat(token=fresh).status == 200
    finally:
        release.set()
        for caller in callers:
            caller.join(30)
    assert statuses == [200] * 8


def test_lookups_that_wait_are_bounded(gateway, rows, monkeypatch):
    # Given as many lookups that hang as may wait
    monkeypatch.setattr("lisa_gateway.callers.MAX_LOOKUPS", 3)
    release = threading.Event()
    held, waiting = rows.by_digest, []

    def slow(digest):
        waiting.append(digest)
        assert release.wait(20)
        return held(digest)

    rows.by_digest = slow
    statuses = []
    callers = [
        threading.Thread(
            target=lambda token: statuses.append(
                gateway.request("GET", "/v1/models", token=token, timeout=30).status
            ),
            args=(rows.add("user"),),
        )
        for _ in range(3)
    ]
    for caller in callers:
        caller.start()
    try:
        wait_for(lambda: len(waiting) == 3)
        # When another one comes, Then it is told to come again, and a sign-in is not held up
        refused = gateway.chat(token=rows.add("user"))
        assert refused.status == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert gateway.chat(token=ISSUER.sign(ISSUER.id_claims(jti="another"))).status == 200
    finally:
        release.set()
        for caller in callers:
            caller.join(30)
    assert statuses == [200] * 3
    assert gateway.chat(token=rows.add("user")).status == 200


def test_a_use_is_written_down_when_the_gateway_ends_if_not_before(rows):
    verifier = TokenVerifier(
        IdentitySettings(issuer=ISSUER.url, client_id=CLIENT), api_tokens=ApiTokens(lambda: rows)
    )
    with running(verifier=verifier) as gateway:
        token = rows.add("user")
        gateway.chat(token=token)
        gateway.chat(token=token)
    assert [uuid for uuid, _ in wait_for(lambda: rows.used)] == ["uuid-0"]


def test_no_token_is_in_the_log(gateway, rows):
    good, bad = rows.add("user"), new_token()
    gateway.chat(token=good)
    gateway.chat(token=bad)
    gateway.lines()
    written = gateway.log.getvalue().decode()
    for token in (good, bad):
        assert token not in written
        assert hashlib.sha256(token.encode()).hexdigest() not in written
