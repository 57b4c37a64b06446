"""Who may see, feed and change what: each rule with one who may and one who may not."""

from typing import Any

import pytest
from lisa.identity.principal import Principal
from lisa.rag import access
from lisa.rag.vectors.base import Reader, Visibility

from tests.unit.rag.people import ADMIN, collection, person, repository

ANN, BOB = person("ann", "blue"), person("bob", "red")
KEEPER = person("kim", "blue", rag_admin=True)


@pytest.mark.parametrize(
    ("who", "groups", "seen"),
    [
        (BOB, (), True),
        (BOB, ("red", "green"), True),
        (BOB, ("blue",), False),
        (KEEPER, ("red",), False),
        (ADMIN, ("blue",), True),
    ],
)
def test_a_repository_is_seen_by_its_groups(who: Principal, groups: tuple[str, ...], seen: bool) -> None:
    assert access.sees_repository(who, repository(allowed_groups=groups)) is seen


@pytest.mark.parametrize(
    ("who", "of_repository", "fields", "seen"),
    [
        (BOB, (), {}, True),
        (BOB, ("blue",), {}, False),
        (BOB, (), {"allowed_groups": ("blue",)}, False),
        (BOB, ("red",), {"allowed_groups": ("red",)}, True),
        # A collection's groups open no repository that is closed.
        (BOB, ("blue",), {"allowed_groups": ("red",)}, False),
        (BOB, (), {"owner": "ann"}, False),
        (KEEPER, (), {"owner": "ann"}, False),
        (ANN, (), {"owner": "ann"}, True),
        (ANN, ("red",), {"owner": "ann"}, False),
        (ANN, (), {"owner": "ann", "allowed_groups": ("red",)}, True),
        (BOB, (), {"owner": "ann", "allowed_groups": ("red",)}, True),
        (ADMIN, ("blue",), {"owner": "ann"}, True),
    ],
)
def test_a_collection_is_seen_by_its_groups_and_its_owner(
    who: Principal, of_repository: tuple[str, ...], fields: dict[str, Any], seen: bool
) -> None:
    library = repository(allowed_groups=of_repository)
    assert access.sees_collection(who, library, collection(**fields)) is seen
    assert access.may_feed(who, library, collection(**fields)) is seen


def test_a_collection_is_looked_for_under_its_own_repository_only() -> None:
    assert not access.sees_collection(ANN, repository("other"), collection())


@pytest.mark.parametrize(
    ("who", "fields", "may"),
    [
        (ANN, {}, True),
        (ANN, {"allow_user_collections": False}, False),
        (KEEPER, {"allow_user_collections": False}, True),
        (KEEPER, {"allowed_groups": ("red",)}, False),
        (ANN, {"allowed_groups": ("red",)}, False),
        (ADMIN, {"allow_user_collections": False, "allowed_groups": ("red",)}, True),
    ],
)
def test_who_may_create_a_collection(who: Principal, fields: dict[str, Any], may: bool) -> None:
    assert access.may_create_collection(who, repository(**fields)) is may


@pytest.mark.parametrize(
    ("who", "fields", "may"),
    [
        (ANN, {}, False),
        (ANN, {"owner": "ann"}, True),
        (ANN, {"owner": "bob", "allowed_groups": ("blue",)}, False),
        (KEEPER, {}, True),
        (KEEPER, {"owner": "ann"}, False),
        (KEEPER, {"owner": "ann", "allowed_groups": ("blue",)}, True),
        (ADMIN, {"owner": "ann"}, True),
    ],
)
def test_who_may_change_a_collection(who: Principal, fields: dict[str, Any], may: bool) -> None:
    assert access.may_change_collection(who, repository(), collection(**fields)) is may


@pytest.mark.parametrize(
    ("who", "fields", "owner", "may"),
    [
        (ANN, {}, "ann", True),
        (ANN, {}, "bob", False),
        (ANN, {}, "", False),
        (ANN, {"owner": "ann"}, "bob", True),
        # Who is no longer let in cannot reach what they left behind.
        (ANN, {"allowed_groups": ("red",)}, "ann", False),
        (KEEPER, {}, "bob", True),
        (ADMIN, {"allowed_groups": ("red",)}, "bob", True),
    ],
)
def test_who_may_change_a_document(who: Principal, fields: dict[str, Any], owner: str, may: bool) -> None:
    assert access.may_change_document(who, repository(), collection(**fields), owner) is may


def test_the_store_is_told_the_same() -> None:
    library = repository(allowed_groups=("blue", "red"))
    assert access.visibility(library, collection()) == Visibility(groups=("blue", "red"))
    assert access.visibility(library, collection(owner="ann")) == Visibility(owner="ann")
    assert access.visibility(library, collection(owner="ann", allowed_groups=("red",))) == Visibility(
        groups=("red",), owner="ann"
    )
    assert access.reader(KEEPER) == Reader(user="kim", groups=frozenset({"blue"}))
    assert access.reader(ADMIN).is_admin
