"""An API token at the verifier that both doors have."""

import hashlib
import threading

import pytest
from lisa.errors import Forbidden, Unauthenticated, Unavailable
from lisa.identity import IdentitySettings, TokenVerifier
from lisa.identity.tokens import API_TOKEN_SECONDS
from lisa.tokens.format import new_token
from lisa.tokens.lookup import MAX_UNKNOWN, UNKNOWN_SECONDS, ApiTokens
from lisa.tokens.used import GRANULARITY, MAX_KNOWN, LastUsed

from tests.unit.identity.issuer import CLIENT, Clock, Issuer
from tests.unit.tokens.rows import Rows

NOW = 1_800_000_000.0


@pytest.fixture
def rows():
    return Rows(NOW)


@pytest.fixture
def clock():
    return Clock(NOW)


@pytest.fixture
def verifier(rows, clock):
    def make(**settings):
        options = IdentitySettings(issuer=Issuer().url, client_id=CLIENT, **settings)
        return TokenVerifier(options, api_tokens=ApiTokens(lambda: rows, clock=clock), clock=clock)

    return make


def test_a_token_speaks_for_its_user_with_its_groups(rows, verifier):
    who = verifier().verify(rows.add("user", "team-a"))
    assert (who.user, who.groups, who.token_id) == ("alice", {"user", "team-a"}, "uuid-0")
    assert (who.is_admin, who.is_rag_admin, who.expires_at) == (False, False, NOW + 3600)


def test_an_administrators_token_is_one_only_by_its_groups(rows, verifier):
    check = verifier(admin_group="ops", rag_admin_group="librarians")
    assert check.verify(rows.add("ops")).is_admin
    assert check.verify(rows.add("librarians")).is_rag_admin
    plain = check.verify(rows.add("admin", "rag-admin", user="root", is_system=True))
    assert (plain.is_admin, plain.is_rag_admin) == (False, False)


def test_who_is_outside_the_users_group_is_forbidden_by_an_api_token_too(rows, verifier):
    check = verifier(user_group="staff")
    with pytest.raises(Forbidden):
        check.verify(rows.add("team-a"))
    assert check.verify(rows.add("staff"))
    assert check.verify(rows.add("admin"))


def test_a_token_seen_before_costs_no_read(rows, verifier):
    check, token = verifier(), rows.add("user")
    who = check.verify(token)
    assert check.verify(token) is who
    assert check.cached(token.encode()) is who
    assert len(rows.asked) == 1


def test_a_revoked_token_is_refused_within_half_a_minute_and_stays_refused_without_reads(
    rows, verifier, clock
):
    # Given
    check, token = verifier(), rows.add("user")
    check.verify(token)
    # When it is revoked
    rows.rows.clear()
    # Then it is soon refused; API Gateway's 30 s more are still less than a minute
    assert API_TOKEN_SECONDS + 30 < 60
    clock.now += API_TOKEN_SECONDS
    assert check.cached(token.encode()) is None
    for _ in range(10):
        with pytest.raises(Unauthenticated):
            check.verify(token)
    assert len(rows.asked) == 2


def test_a_token_ends_at_its_second_in_the_cache_too(rows, verifier, clock):
    check, token = verifier(), rows.add("user", expires_at=int(NOW) + 10)
    check.verify(token)
    clock.now += 9.9
    assert check.cached(token.encode())
    clock.now += 0.1
    assert check.cached(token.encode()) is None
    with pytest.raises(Unauthenticated, match="expired"):
        check.verify(token)


def test_revoking_a_token_ends_those_that_it_has_made(rows, verifier, clock):
    # Given
    parent = rows.add("user")
    digest = hashlib.sha256(parent.encode()).hexdigest()
    child = rows.add("user", ancestors=(digest,))
    check = verifier()
    assert check.verify(child)
    # When
    del rows.rows[digest]
    clock.now += API_TOKEN_SECONDS
    # Then
    with pytest.raises(Unauthenticated):
        check.verify(child)


@pytest.mark.parametrize("change", [lambda t: t[:-1], lambda t: t + "0", lambda t: t[:20] + "!" + t[21:]])
def test_a_mistyped_token_costs_no_read(rows, verifier, change):
    with pytest.raises(Unauthenticated, match="mistyped"):
        verifier().verify(change(rows.add("user")))
    assert rows.asked == []


def test_a_table_that_cannot_be_read_is_no_verdict(rows, verifier, clock):
    # Given a table that is away, When a good and an unknown token come, Then neither is refused and none let in
    check, good = verifier(), rows.add("user")
    rows.down = True
    for token in (good, new_token()):
        with pytest.raises(Unavailable) as told:
            check.verify(token)
        assert told.value.retry_after
    # And once it is back, the good one is good
    rows.down = False
    assert check.verify(good)
    # And an expired cache entry is not used while the table is away
    rows.down = True
    clock.now += API_TOKEN_SECONDS
    with pytest.raises(Unavailable):
        check.verify(good)


def test_unknown_tokens_cannot_fill_the_memory(rows, verifier):
    check = verifier()
    for _ in range(MAX_UNKNOWN + 50):
        with pytest.raises(Unauthenticated):
            check.verify(new_token())
    assert len(check.api_tokens._unknown) == MAX_UNKNOWN


def test_an_unknown_token_is_looked_for_again_after_a_while(rows, verifier, clock):
    check, token = verifier(), new_token()
    for _ in range(3):
        with pytest.raises(Unauthenticated):
            check.verify(token)
    clock.now += UNKNOWN_SECONDS
    with pytest.raises(Unauthenticated):
        check.verify(token)
    assert len(rows.asked) == 2


def test_without_a_table_there_are_no_api_tokens():
    with pytest.raises(Unauthenticated, match="sign in"):
        TokenVerifier(IdentitySettings(issuer="i", client_id="c")).verify(new_token())


def test_sign_ins_do_not_touch_the_table(rows):
    issuer = Issuer()
    check = issuer.verifier()
    check.api_tokens = ApiTokens(lambda: pytest.fail("the table was opened"))
    assert check.verify(issuer.sign(issuer.id_claims())).token_id == ""


def test_the_table_is_opened_once_however_many_come_first(rows):
    opened = []
    ready = threading.Barrier(8)

    def open_rows():
        opened.append(1)
        return rows

    tokens = ApiTokens(open_rows, clock=lambda: NOW)
    good = rows.add("user")
    digest = hashlib.sha256(good.encode()).hexdigest()

    def ask():
        ready.wait(10)
        tokens.find(good, digest)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert opened == [1]


def test_a_use_is_noted_once_an_hour(rows, verifier, clock):
    # Given a token in use for two hours
    check, token = verifier(), rows.add("user", expires_at=int(NOW) + 10 * 3600)
    used = check.api_tokens.used
    for _ in range(int(2 * GRANULARITY / API_TOKEN_SECONDS) + 1):
        check.verify(token)
        used.flush()
        clock.now += API_TOKEN_SECONDS
    # Then
    assert rows.used == [("uuid-0", int(NOW + hour * GRANULARITY)) for hour in range(3)]


def test_a_note_that_cannot_be_written_is_made_with_the_next_use(rows, verifier, clock):
    check, token = verifier(), rows.add("user")
    check.verify(token)
    rows.down = True
    check.api_tokens.used.flush()
    rows.down = False
    clock.now += API_TOKEN_SECONDS
    check.verify(token)
    check.api_tokens.used.flush()
    assert rows.used == [("uuid-0", int(NOW + API_TOKEN_SECONDS))]


def test_what_waits_is_written_when_the_process_ends():
    written = []
    used = LastUsed(lambda *note: written.append(note))
    used.start()
    used.note("u", 5, 1.5)
    used.close()
    assert written == [("u", 1, 5)]


def test_notes_are_bounded():
    used = LastUsed(lambda *note: None)
    for number in range(MAX_KNOWN + 10):
        used.note(str(number), 0, 0.0)
    assert len(used._written) == MAX_KNOWN
    assert len(used._waiting) <= MAX_KNOWN + 10
