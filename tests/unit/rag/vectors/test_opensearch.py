"""What is OpenSearch's own: no transactions, so every step may be the last one, and names that become no fields."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from lisa.errors import Conflict, InvalidRequest, NotFound, Unavailable
from lisa.rag.records import Connection, Repository, StoreType
from lisa.rag.vectors import connect
from lisa.rag.vectors.base import Index, Mode, Query, Reader, Visibility
from lisa.rag.vectors.opensearch import Address, OpenSearchStore, records, schema
from lisa.settings import Settings
from opensearchpy.exceptions import ConnectionError as NotReached

from tests.unit.rag.vectors.conftest import opensearch_address
from tests.unit.rag.vectors.corpus import ANYBODY, DIMENSIONS, chunks, document, texts, vector

OLD, NEW = ("common old one", "common old two"), ("common new one", "common new two", "common new three")
EVERYTHING = Query(Mode.HYBRID, 50, text="common", vector=vector(0))


@pytest.fixture
def store(opensearch: str) -> Iterator[OpenSearchStore]:
    made = OpenSearchStore(opensearch_address(opensearch))
    yield made
    made.close()


class Dying:
    """A process that dies at one of its requests: before it is sent, or before its answer comes."""

    def __init__(self, store: OpenSearchStore, step: int, *, sent: bool) -> None:
        self.store = OpenSearchStore(store.address)
        self.requests = 0
        transport = self.store.client.transport
        perform = transport.perform_request

        def request(*arguments: Any, **options: Any) -> Any:
            self.requests += 1
            if self.requests == step and sent:
                perform(*arguments, **options)
            if self.requests >= step:
                raise NotReached("N/A", "died", None)
            return perform(*arguments, **options)

        transport.perform_request = request


def seen(store: OpenSearchStore, index: Index) -> set[str]:
    """What a search finds, of which both arms say the same."""
    found = store.search(index, EVERYTHING, ANYBODY)
    assert sorted(texts(found.dense)) == sorted(texts(found.lexical)) == sorted(set(texts(found.dense)))
    return set(texts(found.dense))


def lying_there(store: OpenSearchStore, index: Index) -> int:
    """Chunks that take room in the index, whether they count or not."""
    name = schema.door(schema.name_of(store.address, index))
    store.client.indices.refresh(index=name)
    found = store.client.count(index=name, body={"query": {"exists": {"field": "version"}}})
    return int(found["count"])


@pytest.mark.parametrize("sent", [False, True])
def test_a_replacement_may_break_off_at_every_step(
    store: OpenSearchStore, index: Index, sent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, step = False, 0
    while not ended:
        # Given
        step += 1
        name = f"d{step}"
        store.replace(index, document(name, "01"), chunks(*OLD))
        dying = Dying(store, step, sent=sent)

        # When
        with suppress(Unavailable):
            ended = dying.store.replace(index, document(name, "02"), chunks(*NEW)) and dying.requests < step

        # Then searches see one version whole
        assert seen(store, index) in (set(OLD), set(NEW)), f"after step {step}"

        # And the next call makes it right: at once for searches, and on the disk once nobody can be at work still
        assert store.replace(index, document(name, "02"), chunks(*NEW))
        assert seen(store, index) == set(NEW), f"after step {step}"
        assert store.size(index).chunks == len(NEW)
        with monkeypatch.context() as later:
            later.setattr(records, "LEASE_SECONDS", -1)
            store._writer(index, name).clear()
        assert lying_there(store, index) == len(NEW), f"after step {step}"
        assert store._writer(index, name).load()[0].hidden == ()
        assert store.remove(index, name, "03")
        assert lying_there(store, index) == 0
    assert step > 6


@pytest.mark.parametrize("sent", [False, True])
def test_a_removal_may_break_off_at_every_step(store: OpenSearchStore, index: Index, sent: bool) -> None:
    ended, step = False, 0
    while not ended:
        step += 1
        name = f"d{step}"
        store.replace(index, document(name, "01"), chunks(*OLD))
        dying = Dying(store, step, sent=sent)
        with suppress(Unavailable):
            ended = dying.store.remove(index, name, "02") and dying.requests < step
        assert seen(store, index) in (set(OLD), set())
        assert store.remove(index, name, "02")
        assert seen(store, index) == set()
        assert lying_there(store, index) == 0
        assert not store.replace(index, document(name, "01"), chunks(*OLD))
    assert step > 4


def test_chunks_that_come_late_from_an_attempt_that_was_given_up_do_not_count(
    store: OpenSearchStore, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an attempt that stands still between two of its batches, while another one passes it
    monkeypatch.setattr("lisa.rag.vectors.opensearch.writing.BATCH_CHUNKS", 1)

    def slow() -> Iterator[Any]:
        first, *rest = chunks("common slow one", "common slow two", "common slow three")
        yield first
        assert store.replace(index, document("d1", "02"), chunks(*NEW))
        assert seen(store, index) == set(NEW)
        yield from rest

    # When it goes on
    assert not store.replace(index, document("d1", "01"), slow())

    # Then
    assert seen(store, index) == set(NEW)
    assert lying_there(store, index) == len(NEW)


def test_many_hidden_chunks_take_nobodys_place(store: OpenSearchStore, index: Index) -> None:
    # Given more chunks than an answer has room for, nearer than all others, of a version that broke off
    store.replace(index, document("d1", "01"), chunks(*OLD, angle=20))
    near = chunks(*[f"common common common {number}" for number in range(400)])
    dying = Dying(store, 4, sent=False)
    with pytest.raises(Unavailable):
        dying.store.replace(index, document("d2", "01"), near)
    assert lying_there(store, index) == 400 + len(OLD)

    # Then
    assert seen(store, index) == set(OLD)
    assert texts(store.search(index, replace(EVERYTHING, limit=1), ANYBODY).dense) == [OLD[0]]


def test_many_records_that_hide_something_take_no_room(store: OpenSearchStore, index: Index) -> None:
    store.replace(index, document("d0", "01"), chunks(*OLD))
    for number in range(130):
        with pytest.raises(Unavailable):
            Dying(store, 3, sent=True).store.replace(index, document(f"d{number}", "02"), chunks(*NEW))
    assert lying_there(store, index) == len(OLD) + 130 * len(NEW)
    assert seen(store, index) == set(OLD)


def test_an_index_that_is_dropped_is_not_made_again_by_writing_to_it(
    store: OpenSearchStore, index: Index
) -> None:
    def dropping() -> Iterator[Any]:
        yield from chunks(*OLD)
        store.drop(index)

    with pytest.raises(NotFound, match="has no index of generation 1"):
        store.replace(index, document(), dropping())
    name = schema.name_of(store.address, index)
    assert not store.client.indices.exists(index=name)
    assert not store.client.indices.exists(index=schema.door(name))


def test_names_of_attributes_become_no_fields(store: OpenSearchStore, index: Index) -> None:
    def fields() -> Any:
        return store.client.indices.get_mapping(index=schema.name_of(store.address, index))

    before = fields()
    for number in range(5):
        attributes = {f"key{number}.{part}": part for part in range(300)}
        assert store.replace(index, document(f"d{number}", attributes=attributes), chunks("common"))
    assert fields() == before


def test_another_length_of_vectors_is_refused(store: OpenSearchStore, index: Index) -> None:
    with pytest.raises(Conflict, match=f"{DIMENSIONS} dimensions, the embedding model makes 16"):
        store.create(replace(index, dimensions=16), Visibility())
    with pytest.raises(InvalidRequest, match="3 dimensions"):
        store.search(index, Query(Mode.DENSE, 5, vector=[1, 0, 0]), ANYBODY)
    with pytest.raises(InvalidRequest, match="zero"):
        store.search(index, Query(Mode.DENSE, 5, vector=[0.0] * DIMENSIONS), ANYBODY)


@pytest.mark.parametrize(
    ("visibility", "see", "see_not"),
    [
        (Visibility(), [("ada", ()), ("bob", ("x",))], []),
        (Visibility(groups=("a", "b")), [("ada", ("b", "c")), ("ada", ("a",))], [("ada", ()), ("b", ("A",))]),
        (Visibility(owner="ada"), [("ada", ())], [("bob", ()), ("bob", ("ada",)), ("ADA", ())]),
        (Visibility(groups=("a",), owner="ada"), [("ada", ()), ("bob", ("a",))], [("bob", ("b",))]),
    ],
)
def test_only_who_may_see_an_index_reaches_it(
    store: OpenSearchStore,
    index: Index,
    visibility: Visibility,
    see: list[tuple[str, tuple[str, ...]]],
    see_not: list[tuple[str, tuple[str, ...]]],
) -> None:
    store.replace(index, document(), chunks(*OLD))
    store.set_visibility(index, Visibility(groups=("others",), owner="another"))
    store.set_visibility(index, visibility)
    for user, groups in see:
        assert store.search(index, EVERYTHING, Reader(user, frozenset(groups))).dense, user
    for user, groups in see_not:
        found = store.search(index, EVERYTHING, Reader(user, frozenset(groups)))
        assert (found.dense, found.lexical) == ((), ()), user
    assert store.search(index, EVERYTHING, Reader("root", frozenset(), is_admin=True)).lexical


def test_no_node_is_unavailable() -> None:
    away = OpenSearchStore(Address("http://127.0.0.1:1", seconds=2))
    index = Index("r", "c", 1, DIMENSIONS)
    for call in (
        lambda: away.create(index, Visibility()),
        lambda: away.search(index, EVERYTHING, ANYBODY),
        lambda: away.replace(index, document(), chunks("a")),
        lambda: away.size(index),
        lambda: away.drop(index),
    ):
        with pytest.raises(Unavailable, match="OpenSearch does not answer"):
            call()


def test_a_deployment_without_opensearch_says_what_to_do() -> None:
    repository = Repository("r", StoreType.OPENSEARCH, "R")
    with pytest.raises(InvalidRequest, match=r"no store of the type opensearch: .* set OpenSearchStore"):
        connect.open_store(repository, Settings())


def test_a_repository_may_lie_in_an_opensearch_of_its_own(opensearch: str, index: Index) -> None:
    repository = Repository("r", StoreType.OPENSEARCH, "R", connection=Connection(opensearch))
    store = connect.open_store(repository, Settings())
    assert store is connect.open_store(repository, Settings())
    mine = replace(index, repository_id="its own")
    store.create(mine, Visibility())
    try:
        assert store.replace(mine, document(), chunks(*OLD))
        assert store.size(mine).documents == 1
    finally:
        store.drop(mine)
        connect.close_stores()
