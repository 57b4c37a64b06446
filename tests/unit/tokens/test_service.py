"""Who may have which tokens, for how long, and who sees and revokes them."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from lisa.errors import Conflict, Forbidden, InvalidRequest, NotFound, Unauthenticated
from lisa.identity import Principal
from lisa.tokens.format import is_well_formed
from lisa.tokens.schema import CreateToken
from lisa.tokens.service import DAY, DEFAULT_DAYS, MAX_ANCESTORS, MAX_TOKENS, TokenRules, TokenService

NOW = 1_800_000_000


def principal(user: str, *groups: str, **changes: Any) -> Principal:
    return Principal(
        user=user, groups=frozenset(groups), is_admin="admin" in groups, expires_at=NOW + 3600, **changes
    )


ALICE = principal("alice", "user", "team-a")
BOB = principal("bob", "user", "team-b")
ADMIN = principal("root", "admin")


def body(name: str = "notebook", **fields: Any) -> CreateToken:
    return CreateToken.model_validate({"name": name, **fields})


@pytest.fixture
def service(store):
    return lambda **rules: TokenService(TokenRules(**rules), store, clock=lambda: NOW)


@pytest.fixture
def tokens(service: Callable[..., TokenService]) -> TokenService:
    return service()


def speaking(created: Any) -> Principal:
    """Who calls with this token."""
    return principal(created.username, *created.groups, token_id=created.token_uuid)


def test_an_own_token_is_shown_once_and_never_stored(tokens, store):
    # When
    made = tokens.create_own(ALICE, body())

    # Then
    assert is_well_formed(made.token)
    assert (made.username, made.groups, made.is_system_token) == ("alice", ["team-a", "user"], False)
    assert (made.created_date, made.token_expiration) == (NOW, NOW + DEFAULT_DAYS * DAY)
    kept = store.by_digest(hashlib.sha256(made.token.encode()).hexdigest())
    assert kept == store.by_uuid(made.token_uuid)
    rows = store._client.scan(TableName="tokens")["Items"]
    assert len(rows) == 3
    assert made.token not in json.dumps(rows)
    assert made.token not in tokens.get(ALICE, made.token_uuid).model_dump_json()


def test_a_token_may_have_fewer_groups_than_its_creator(tokens):
    assert tokens.create_own(ALICE, body(groups=["team-a"])).groups == ["team-a"]
    assert tokens.create_own(ALICE, body("none", groups=[])).groups == []


@pytest.mark.parametrize("groups", [["team-b"], ["team-a", "admin"], ["user", "rag-admin", "unknown"]])
def test_a_token_never_has_more_groups_than_its_creator(tokens, groups):
    with pytest.raises(InvalidRequest) as refused:
        tokens.create_own(ALICE, body(groups=groups))
    assert refused.value.field == "groups"
    for group in set(groups) - ALICE.groups:
        assert group in refused.value.message


def test_several_tokens_a_user_but_each_name_once(tokens):
    # Given
    tokens.create_own(ALICE, body("one"))
    tokens.create_own(ALICE, body("two"))

    # When, Then
    with pytest.raises(Conflict) as refused:
        tokens.create_own(ALICE, body("one"))
    assert (refused.value.code, refused.value.field) == ("token_exists", "name")

    # And somebody else may use the name, and she too once the first is gone
    tokens.create_own(BOB, body("one"))
    first = next(token for token in tokens.visible(ALICE)[0] if token.name == "one")
    tokens.revoke(ALICE, first.token_uuid)
    tokens.create_own(ALICE, body("one"))


def test_nobody_fills_the_table(tokens):
    for number in range(MAX_TOKENS):
        tokens.create_own(ALICE, body(f"t{number}"))
    with pytest.raises(Conflict) as refused:
        tokens.create_own(ALICE, body("one more"))
    assert refused.value.code == "too_many_tokens"


@pytest.mark.parametrize(
    ("wanted", "why"),
    [(NOW, "past"), (0, "past"), (-5, "past"), (NOW + 365 * DAY + 1, "365"), (10**30, "365")],
)
def test_a_date_that_is_past_or_too_far_is_refused(tokens, wanted, why):
    with pytest.raises(InvalidRequest) as refused:
        tokens.create_own(ALICE, body(tokenExpiration=wanted))
    assert refused.value.field == "tokenExpiration"
    assert why in refused.value.message


def test_a_date_within_the_operators_limit_is_taken(service):
    assert service().create_own(ALICE, body(tokenExpiration=NOW + 1)).token_expiration == NOW + 1
    made = service(max_days=7).create_own(ALICE, body("short"))
    assert made.token_expiration == NOW + 7 * DAY


def test_the_operator_may_say_who_creates_tokens(service):
    tokens = service(creator_group="builders")
    with pytest.raises(Forbidden, match="builders"):
        tokens.create_own(ALICE, body())
    tokens.create_own(principal("carol", "builders"), body())
    tokens.create_own(ADMIN, body())


def test_a_token_that_could_not_be_used_is_not_made(service):
    tokens = service(user_group="user")
    with pytest.raises(InvalidRequest, match="user"):
        tokens.create_own(ALICE, body(groups=["team-a"]))
    tokens.create_own(ALICE, body(groups=["user"]))
    tokens.create_own(ADMIN, body())


def test_only_administrators_make_system_tokens(tokens):
    with pytest.raises(InvalidRequest) as refused:
        tokens.create_own(ALICE, body(isSystemToken=True))
    assert refused.value.field == "isSystemToken"
    made = tokens.create_for(ADMIN, "ci", body(isSystemToken=True, groups=["team-b"]))
    assert (made.username, made.groups, made.is_system_token) == ("ci", ["team-b"], True)
    assert tokens.get(ADMIN, made.token_uuid).created_by == "root"


@pytest.mark.parametrize("name", ["", "a b", "a/b", "100%", "x" * 129, "a\nb", "a\x00"])
def test_a_user_name_that_no_address_could_hold_is_refused(tokens, name):
    with pytest.raises(InvalidRequest):
        tokens.create_for(ADMIN, name, body())


def test_people_see_their_own_tokens_and_administrators_all(tokens):
    hers = tokens.create_own(ALICE, body("hers"))
    his = tokens.create_own(BOB, body("his"))
    given = tokens.create_for(ADMIN, "alice", body("given"))
    assert [token.name for token in tokens.visible(ALICE)[0]] == ["given", "hers"]
    assert [token.name for token in tokens.visible(BOB)[0]] == ["his"]
    everybodys = {token.token_uuid for token in tokens.visible(ADMIN)[0]}
    assert everybodys == {hers.token_uuid, his.token_uuid, given.token_uuid}


@pytest.mark.parametrize("who", [ALICE, ADMIN], ids=lambda who: who.user)
def test_pages_follow_one_another(tokens, who):
    # Given
    made = {tokens.create_own(ALICE, body(f"t{number}")).token_uuid for number in range(5)}

    # When
    seen, page, after, sizes = [], None, None, []
    while page is None or after:
        page, after = tokens.visible(who, page_size=2, token=after)
        seen += [token.token_uuid for token in page]
        sizes.append(len(page))

    # Then
    assert len(seen) == len(set(seen)) == 5
    assert set(seen) == made
    assert sizes == [2, 2, 1]


@pytest.mark.parametrize("size", [0, 101, -1])
def test_a_page_of_no_size_is_refused(tokens, size):
    with pytest.raises(InvalidRequest):
        tokens.visible(ALICE, page_size=size)


@pytest.mark.parametrize("token", ["%%%", "\u00e9", "====", "A" * 2000])
def test_a_page_that_none_gave_is_refused(tokens, token):
    with pytest.raises(InvalidRequest) as refused:
        tokens.visible(ALICE, token=token)
    assert refused.value.field == "nextToken"


def test_what_is_somebody_elses_is_not_there(tokens):
    his = tokens.create_own(BOB, body()).token_uuid
    for uuid in (his, his.upper(), "nonsense", "00000000-0000-4000-8000-000000000000", "x" * 5000, ""):
        for ask in (tokens.get, tokens.revoke):
            with pytest.raises(NotFound) as refused:
                ask(ALICE, uuid)
            assert refused.value.message == "There is no such token."
    assert tokens.get(BOB, his)


def test_a_revoked_token_is_gone_in_every_way_it_could_be_found(tokens, store):
    made = tokens.create_own(ALICE, body())
    store.mark_used(made.token_uuid, NOW, made.token_expiration)
    answer = tokens.revoke(ADMIN, made.token_uuid)
    assert answer.token_uuid == made.token_uuid
    assert store._client.scan(TableName="tokens")["Items"] == []
    with pytest.raises(NotFound):
        tokens.revoke(ALICE, made.token_uuid)


def test_an_expired_token_is_listed_as_such(tokens, store):
    made = tokens.create_own(ALICE, body(tokenExpiration=NOW + 10))
    later = TokenService(TokenRules(), store, clock=lambda: NOW + 10)
    assert not tokens.get(ALICE, made.token_uuid).is_expired
    assert later.get(ALICE, made.token_uuid).is_expired


def test_when_a_token_was_used_is_told(tokens, store):
    one, two = (tokens.create_own(ALICE, body(name)) for name in ("one", "two"))
    store.mark_used(one.token_uuid, NOW + 5, one.token_expiration)
    assert [token.last_used for token in tokens.visible(ALICE)[0]] == [NOW + 5, None]
    assert tokens.get(ALICE, two.token_uuid).last_used is None


def test_a_token_makes_none_that_is_wider_or_outlives_it(tokens):
    # Given a token with one of her groups, for a day
    parent = tokens.create_own(ALICE, body("parent", groups=["team-a"], tokenExpiration=NOW + DAY))

    # When it asks for more, Then it is refused
    with pytest.raises(InvalidRequest, match="user"):
        tokens.create_own(speaking(parent), body("wide", groups=["team-a", "user"]))
    with pytest.raises(InvalidRequest, match="outlive"):
        tokens.create_own(speaking(parent), body("long", tokenExpiration=NOW + DAY + 1))

    # And without a wish it gets what it has
    child = tokens.create_own(speaking(parent), body("child"))
    assert (child.groups, child.token_expiration) == (["team-a"], NOW + DAY)


def test_a_token_that_is_revoked_meanwhile_makes_no_other(tokens):
    parent = tokens.create_own(ALICE, body())
    tokens.revoke(ALICE, parent.token_uuid)
    with pytest.raises(Unauthenticated):
        tokens.create_own(speaking(parent), body("child"))


def test_tokens_make_tokens_only_so_deep(tokens, store):
    made = tokens.create_own(ALICE, body("0"))
    for depth in range(1, MAX_ANCESTORS + 1):
        made = tokens.create_own(speaking(made), body(str(depth)))
    assert len(store.by_uuid(made.token_uuid).ancestors) == MAX_ANCESTORS
    with pytest.raises(InvalidRequest):
        tokens.create_own(speaking(made), body("too deep"))
