"""What a reader may not see is kept out of every answer by the store itself."""

from __future__ import annotations

import pytest
from lisa.errors import Conflict, InvalidRequest, LisaError, NotFound
from lisa.rag.vectors.base import Arms, Index, Mode, Query, Reader, VectorStore, Visibility

from tests.unit.rag.vectors.corpus import ANYBODY, chunks, dense, document, vector

ADA = Reader("ada", frozenset({"physics", "everyone"}))
BOB = Reader("bob", frozenset({"chemistry"}))
ADMIN = Reader("root", frozenset(), is_admin=True)
NOBODY = Reader("", frozenset())


def seen(store: VectorStore, index: Index, reader: Reader) -> bool:
    arms = store.search(index, Query(Mode.HYBRID, 5, "apple", vector(0)), reader)
    assert bool(arms.dense) == bool(arms.lexical)
    return arms != Arms()


@pytest.mark.parametrize(
    ("visibility", "readers"),
    [
        (Visibility(), {"ada", "bob", "root", ""}),
        (Visibility(groups=("physics",)), {"ada", "root"}),
        (Visibility(groups=("physics", "chemistry")), {"ada", "bob", "root"}),
        (Visibility(groups=("biology",)), {"root"}),
        (Visibility(owner="bob"), {"bob", "root"}),
        (Visibility(groups=("physics",), owner="bob"), {"ada", "bob", "root"}),
        (Visibility(groups=("' OR true --",)), {"root"}),
        (Visibility(groups=("",)), {"root"}),
        (Visibility(owner="*"), {"root"}),
    ],
)
def test_who_sees_an_index(
    store: VectorStore, unmade: Index, visibility: Visibility, readers: set[str]
) -> None:
    store.create(unmade, visibility)
    try:
        store.replace(unmade, document(), chunks("apple"))
        who = {reader.user for reader in (ADA, BOB, ADMIN, NOBODY) if seen(store, unmade, reader)}
        assert who == readers
    finally:
        store.drop(unmade)


def test_a_change_takes_effect_at_once(store: VectorStore, index: Index) -> None:
    store.replace(index, document(), chunks("apple"))
    assert seen(store, index, BOB)
    store.set_visibility(index, Visibility(groups=("physics",)))
    assert not seen(store, index, BOB)
    assert seen(store, index, ADA)
    store.set_visibility(index, Visibility(owner="bob"))
    assert seen(store, index, BOB)
    assert not seen(store, index, ADA)
    store.set_visibility(index, Visibility())
    assert seen(store, index, ADA)


def test_hostile_names_of_readers_are_names(store: VectorStore, index: Index) -> None:
    store.replace(index, document(), chunks("apple"))
    store.set_visibility(index, Visibility(groups=("g",), owner="o'wner"))
    assert seen(store, index, Reader("o'wner", frozenset()))
    for name in ("' OR '1'='1", "{g}", "*", '"g"', "g,h", "{}"):
        assert not seen(store, index, Reader(name, frozenset({name})))


def test_one_index_does_not_show_anothers_chunks(store: VectorStore, index: Index, unmade: Index) -> None:
    other = Index(unmade.repository_id, unmade.collection_id, 2, unmade.dimensions)
    store.create(other, Visibility(owner="bob"))
    try:
        store.replace(index, document("mine"), chunks("apple"))
        store.replace(other, document("theirs"), chunks("apple"))
        arms = store.search(index, Query(Mode.HYBRID, 9, "apple", vector(0)), ADA)
        assert {hit.document.id for hit in (*arms.dense, *arms.lexical)} == {"mine"}
        assert not seen(store, other, ADA)
    finally:
        store.drop(other)


def test_creating_again_keeps_the_documents_and_sets_who_sees_them(store: VectorStore, index: Index) -> None:
    store.replace(index, document(), chunks("apple"))
    store.create(index, Visibility(owner="bob"))
    assert store.size(index).documents == 1
    assert not seen(store, index, ADA)
    assert seen(store, index, BOB)


def test_dropping_is_for_good_and_can_be_done_again(store: VectorStore, unmade: Index) -> None:
    store.drop(unmade)
    store.create(unmade, Visibility())
    store.replace(unmade, document(), chunks("apple"))
    store.drop(unmade)
    store.drop(unmade)
    with pytest.raises(NotFound):
        store.search(unmade, dense(0), ANYBODY)
    store.create(unmade, Visibility())
    assert store.size(unmade).documents == 0
    assert not seen(store, unmade, ADA)
    store.drop(unmade)


def test_an_index_cannot_change_its_dimensions(store: VectorStore, index: Index) -> None:
    other = Index(index.repository_id, index.collection_id, index.generation, index.dimensions + 1)
    with pytest.raises((Conflict, InvalidRequest), match="dimensions"):
        store.create(other, Visibility())


@pytest.mark.parametrize("dimensions", [0, 100_000])
def test_dimensions_that_no_index_takes_are_refused(
    store: VectorStore, unmade: Index, dimensions: int
) -> None:
    impossible = Index(unmade.repository_id, unmade.collection_id, 1, dimensions)
    with pytest.raises(InvalidRequest, match=r"(?i)dimension"):
        store.create(impossible, Visibility())
    with pytest.raises(NotFound):
        store.size(impossible)


def test_visibility_of_an_unknown_index_is_not_found(store: VectorStore, unmade: Index) -> None:
    with pytest.raises(NotFound):
        store.set_visibility(unmade, Visibility())


def test_an_error_names_the_collection(store: VectorStore, unmade: Index) -> None:
    with pytest.raises(LisaError) as raised:
        store.size(unmade)
    assert unmade.collection_id in raised.value.message
