"""Versions of documents: whole or not at all, newer over older, and what was removed stays removed."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event, Thread

import pytest
from lisa.errors import InvalidRequest, NotFound
from lisa.rag.vectors.base import Chunk, EmbeddedChunk, Index, Mode, Query, VectorStore

from tests.unit.rag.vectors.corpus import (
    ANYBODY,
    DIMENSIONS,
    chunks,
    dense,
    document,
    lexical,
    texts,
    vector,
)


def both(text: str, angle: float = 0.0) -> Query:
    return Query(Mode.HYBRID, 50, text=text, vector=vector(angle))


def stored(store: VectorStore, index: Index, document_id: str = "d1") -> list[str]:
    return [chunk.text for chunk in store.chunks(index, document_id)]


def test_what_was_put_in_comes_back_unchanged(store: VectorStore, index: Index) -> None:
    given = document(
        tags=("red", "blue"),
        attributes={"year": 2024.0, "lang": "de", "draft": False},
        name="Über uns.pdf",
        media_type="application/pdf",
    )
    piece = EmbeddedChunk(
        Chunk(0, "Grüße\n\t“quoted” \\ % {x}", 3, 27, ("Title", "Part 'one'"), 7), vector(10)
    )
    assert store.replace(index, given, [piece])

    for query, arm in ((dense(10), "dense"), (lexical("grüße"), "lexical")):
        (hit,) = getattr(store.search(index, query, ANYBODY), arm)
        assert hit.document == given
        assert hit.chunk == piece.chunk
    assert store.chunks(index, "d1") == [piece.chunk]


def test_a_newer_version_takes_the_place_of_the_older(store: VectorStore, index: Index) -> None:
    assert store.replace(index, document(sequencer="01"), chunks("old apple", "old pear", "old plum"))
    assert store.replace(index, document(sequencer="02"), chunks("new apple", "new pear"))
    assert stored(store, index) == ["new apple", "new pear"]
    found = store.search(index, both("apple old"), ANYBODY)
    assert set(texts(found.dense)) == {"new apple", "new pear"}
    assert texts(found.lexical) == ["new apple"]
    size = store.size(index)
    assert (size.documents, size.chunks) == (1, 2)
    assert size.bytes > 0


def test_an_older_version_changes_nothing(store: VectorStore, index: Index) -> None:
    assert store.replace(index, document(sequencer="02", name="new.txt"), chunks("new"))
    assert not store.replace(index, document(sequencer="01", name="old.txt"), chunks("old", "older"))
    assert stored(store, index) == ["new"]
    (hit,) = store.search(index, dense(0), ANYBODY).dense
    assert hit.document.name == "new.txt"


def test_sequencers_are_compared_as_text(store: VectorStore, index: Index) -> None:
    assert store.replace(index, document(sequencer="00B"), chunks("b"))
    assert store.replace(index, document(sequencer="00a"), chunks("a"))
    assert not store.replace(index, document(sequencer="00B"), chunks("b"))
    assert stored(store, index) == ["a"]


def test_the_same_version_again_is_written_again(store: VectorStore, index: Index) -> None:
    for _ in range(3):
        assert store.replace(index, document(sequencer="01"), chunks("one", "two"))
    assert stored(store, index) == ["one", "two"]
    assert store.size(index).chunks == 2
    assert texts(store.search(index, lexical("one"), ANYBODY).lexical) == ["one"]


def test_a_document_that_was_removed_is_found_no_more(store: VectorStore, index: Index) -> None:
    store.replace(index, document("d1"), chunks("apple"))
    store.replace(index, document("d2"), chunks("apple"))
    assert store.remove(index, "d1", "02")
    found = store.search(index, both("apple"), ANYBODY)
    assert {hit.document.id for hit in (*found.dense, *found.lexical)} == {"d2"}
    assert stored(store, index, "d1") == []
    assert (store.size(index).documents, store.size(index).chunks) == (1, 1)
    assert store.remove(index, "d1", "02")
    assert store.size(index).documents == 1


def test_a_removal_that_comes_before_what_it_removes_holds(store: VectorStore, index: Index) -> None:
    assert store.remove(index, "d1", "05")
    assert not store.replace(index, document(sequencer="04"), chunks("late"))
    assert store.size(index).documents == 0
    assert store.replace(index, document(sequencer="06"), chunks("back again"))
    assert stored(store, index) == ["back again"]
    assert store.size(index).documents == 1


def test_an_older_removal_changes_nothing(store: VectorStore, index: Index) -> None:
    store.replace(index, document(sequencer="05"), chunks("here"))
    assert not store.remove(index, "d1", "04")
    assert stored(store, index) == ["here"]


def test_a_version_can_be_without_chunks(store: VectorStore, index: Index) -> None:
    store.replace(index, document(sequencer="01"), chunks("apple"))
    assert store.replace(index, document(sequencer="02"), [])
    assert stored(store, index) == []
    assert store.search(index, both("apple"), ANYBODY).lexical == ()
    assert (store.size(index).documents, store.size(index).chunks) == (1, 0)


def test_new_tags_show_at_once_without_the_chunks(store: VectorStore, index: Index) -> None:
    store.replace(index, document(sequencer="01", tags=("old",)), chunks("apple", "pear"))
    assert store.retag(index, document(sequencer="02", tags=("new",), attributes={"year": 2025.0}))
    found = store.search(index, both("apple"), ANYBODY)
    assert [hit.document.tags for hit in found.lexical] == [("new",)]
    assert {hit.document.sequencer for hit in found.dense} == {"02"}
    assert stored(store, index) == ["apple", "pear"]
    assert not store.retag(index, document(sequencer="01", tags=("older",)))
    assert not store.retag(index, document("d2", sequencer="09"))
    store.remove(index, "d1", "03")
    assert not store.retag(index, document(sequencer="04"))


def test_a_version_that_breaks_off_leaves_the_older_whole(store: VectorStore, index: Index) -> None:
    store.replace(index, document(sequencer="01"), chunks("apple", "pear"))

    def breaking() -> Iterator[EmbeddedChunk]:
        yield from chunks(*[f"broken {number}" for number in range(500)])
        raise ConnectionError("the embedder is away")

    with pytest.raises(ConnectionError):
        store.replace(index, document(sequencer="02"), breaking())
    assert stored(store, index) == ["apple", "pear"]
    assert texts(store.search(index, lexical("broken apple"), ANYBODY).lexical) == ["apple"]
    assert (store.size(index).documents, store.size(index).chunks) == (1, 2)
    assert store.replace(index, document(sequencer="02"), chunks("plum"))
    assert stored(store, index) == ["plum"]


def test_a_vector_of_another_length_is_refused_and_changes_nothing(store: VectorStore, index: Index) -> None:
    store.replace(index, document(sequencer="01"), chunks("apple"))
    wrong = EmbeddedChunk(Chunk(1, "pear", 0, 4), [0.1] * (DIMENSIONS + 1))
    with pytest.raises(InvalidRequest, match=f"{DIMENSIONS + 1} dimensions"):
        store.replace(index, document(sequencer="02"), [*chunks("plum"), wrong])
    assert stored(store, index) == ["apple"]


def test_a_reader_never_sees_a_mixture_or_nothing(store: VectorStore, index: Index) -> None:
    # Given: versions that differ in every chunk and in their number of chunks
    def version(number: int) -> list[EmbeddedChunk]:
        return chunks(*[f"common v{number} part{part}" for part in range(12 + number % 3)])

    store.replace(index, document(sequencer="0000"), version(0))
    stop, seen, wrong = Event(), set(), []

    def read() -> None:
        while not stop.is_set():
            found = store.search(index, both("common"), ANYBODY)
            for arm in (found.dense, found.lexical):
                versions = {text.split()[1] for text in texts(arm)}
                whole = 12 + int(next(iter(versions))[1:]) % 3 if len(versions) == 1 else -1
                if len(arm) != whole or len({hit.document.sequencer for hit in arm}) != 1:
                    wrong.append(texts(arm))
                seen.update(versions)

    # When
    readers = [Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for number in range(1, 30):
            assert store.replace(index, document(sequencer=f"{number:04}"), version(number))
    finally:
        stop.set()
        for reader in readers:
            reader.join()

    # Then
    assert wrong == []
    assert len(seen) > 1


def test_writers_of_one_document_end_with_the_newest(store: VectorStore, index: Index) -> None:
    def write(first: int) -> None:
        for number in range(first, 40, 4):
            store.replace(index, document(sequencer=f"{number:04}"), chunks(f"v{number} a", f"v{number} b"))

    writers = [Thread(target=write, args=(first,)) for first in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert stored(store, index) == ["v39 a", "v39 b"]
    assert (store.size(index).documents, store.size(index).chunks) == (1, 2)


def test_chunks_are_taken_as_they_come(store: VectorStore, index: Index) -> None:
    # Given: more chunks than are held at once
    held = 0
    most = 0

    class Counted(EmbeddedChunk):
        __slots__ = ()

        def __del__(self) -> None:
            nonlocal held
            held -= 1

    def many() -> Iterator[EmbeddedChunk]:
        nonlocal held, most
        for number in range(3000):
            held += 1
            most = max(most, held)
            yield Counted(Chunk(number, f"text {number}", number, number + 1), vector(number % 360))

    # When
    assert store.replace(index, document(), many())

    # Then
    assert store.size(index).chunks == 3000
    assert most < 1500


def test_chunks_are_listed_in_pages_and_order(store: VectorStore, index: Index) -> None:
    store.replace(index, document("d1"), chunks(*[f"text {number}" for number in range(25)]))
    store.replace(index, document("d2"), chunks("other"))
    listed: list[Chunk] = []
    while page := store.chunks(index, "d1", after=listed[-1].ordinal if listed else -1, limit=10):
        listed += page
    assert [chunk.ordinal for chunk in listed] == list(range(25))
    assert [chunk.text for chunk in listed] == [f"text {number}" for number in range(25)]
    assert store.chunks(index, "unknown") == []


def test_an_index_that_was_never_created_is_not_found(store: VectorStore, unmade: Index) -> None:
    for call in (
        lambda: store.search(unmade, dense(0), ANYBODY),
        lambda: store.replace(unmade, document(), chunks("a")),
        lambda: store.retag(unmade, document()),
        lambda: store.remove(unmade, "d1", "01"),
        lambda: store.chunks(unmade, "d1"),
        lambda: store.size(unmade),
    ):
        with pytest.raises(NotFound):
            call()
