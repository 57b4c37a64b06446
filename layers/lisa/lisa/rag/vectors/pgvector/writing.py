"""Putting documents in and taking them out, with the counts that BM25 needs kept exact.

A document's row is locked first, then the index's row, which stays locked until the transaction ends: writers of one
index take turns for the last few milliseconds, and nobody waits for two things in different orders.
"""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import islice

import numpy as np
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_values

from lisa.errors import InvalidRequest, NotFound
from lisa.rag.vectors.analysis import words_of
from lisa.rag.vectors.base import EmbeddedChunk, Index, StoredDocument, Vector
from lisa.rag.vectors.pgvector import bm25, lists
from lisa.rag.vectors.pgvector.schema import name_of, statement

PAGE = 200
"""Chunks that are held in memory at once."""

MAX_ORDINAL = 2**31 - 1
_HELD = np.dtype([("term", "<i8"), ("chunks", "<i4")])


def replace(cursor: Cursor, index: Index, document: StoredDocument, chunks: Iterable[EmbeddedChunk]) -> bool:
    name = name_of(index)
    dimensions = _dimensions(cursor, index)
    key, stored, removed = _lock(cursor, name, storable(document.id))
    if stored > document.sequencer or (removed and stored == document.sequencer and stored != ""):
        return False
    writer = _Writer(cursor, name, key, dimensions)
    writer.clear()
    writer.add(chunks)
    _describe(cursor, name, key, document, writer.chunks)
    writer.count(documents=1 if removed else 0)
    return True


def retag(cursor: Cursor, index: Index, document: StoredDocument) -> bool:
    name = name_of(index)
    _dimensions(cursor, index)
    cursor.execute(
        statement("SELECT key, sequencer, removed, chunks FROM {documents} WHERE id = %s FOR UPDATE", name),
        [storable(document.id)],
    )
    found = cursor.fetchone()
    if found is None or found[2] or found[1] > document.sequencer:
        return False
    _describe(cursor, name, found[0], document, found[3])
    return True


def remove(cursor: Cursor, index: Index, document_id: str, sequencer: str) -> bool:
    name = name_of(index)
    dimensions = _dimensions(cursor, index)
    key, stored, removed = _lock(cursor, name, storable(document_id))
    if stored > sequencer:
        return False
    writer = _Writer(cursor, name, key, dimensions)
    writer.clear()
    # The row stays, so that an older version does not come back, but nothing of what was in the document.
    cursor.execute(
        statement(
            "UPDATE {documents} SET sequencer = %s, removed = true, chunks = 0, name = '', source = '', owner = '',"
            " media_type = '', uploaded_at = 0, tags = DEFAULT, attributes = DEFAULT WHERE key = %s",
            name,
        ),
        [sequencer, key],
    )
    writer.count(documents=0 if removed else -1)
    return True


class _Writer:
    """Changes the chunks of one document and remembers what that changes in the counts."""

    def __init__(self, cursor: Cursor, name: str, key: int, dimensions: int) -> None:
        self._cursor = cursor
        self._name = name
        self._key = key
        self._dimensions = dimensions
        self._before: dict[int, int] = {}
        self._terms: Counter[int] = Counter()
        self._pieces: Counter[int] = Counter()
        self._words = 0
        self._removed = 0
        self.chunks = 0

    def clear(self) -> None:
        self._run("DELETE FROM {held} WHERE document = %s RETURNING terms", [self._key])
        for (terms,) in self._cursor:
            held = np.frombuffer(terms, _HELD)
            self._before = dict(zip(held["term"].tolist(), held["chunks"].tolist(), strict=True))
        self._run(
            "WITH gone AS (DELETE FROM {chunks} WHERE document = %s RETURNING length)"
            " SELECT count(*), coalesce(sum(length), 0) FROM gone",
            [self._key],
        )
        for chunks, length in self._cursor:
            self._removed, self._words = int(chunks), -int(length)

    def add(self, chunks: Iterable[EmbeddedChunk]) -> None:
        remaining = iter(chunks)
        while page := list(islice(remaining, PAGE)):
            self._run("SELECT nextval(%s) FROM generate_series(1, %s)", [self._numbers(), len(page)])
            numbers = [int(number) for (number,) in self._cursor]
            held = defaultdict(list)
            rows = []
            for number, embedded in zip(numbers, page, strict=True):
                words = words_of(embedded.chunk)
                self._words += len(words)
                for term, tf in Counter(map(bm25.term, words)).items():
                    held[term].append((number, len(words), tf))
                rows.append((number, *self._row(embedded), len(words)))
            execute_values(
                self._cursor,
                statement(
                    "INSERT INTO {chunks} (number, document, ordinal, page, first_character, last_character, heading,"
                    " text, embedding, length) VALUES %s",
                    self._name,
                ),
                rows,
                template="(%s, %s, %s, %s, %s, %s, %s::text[], %s, %s::halfvec, %s)",
                page_size=PAGE,
            )
            lists.append(self._cursor, self._name, held)
            for term, entries in held.items():
                self._terms[term] += len(entries)
                self._pieces[term] += 1
            self.chunks += len(page)

    def count(self, documents: int) -> None:
        """Brings the index's counts up to date; the last thing in a transaction."""
        if self._terms:
            kept = np.array(list(self._terms.items()), np.int64)
            held = np.empty(len(kept), _HELD)
            held["term"], held["chunks"] = kept[:, 0], kept[:, 1]
            self._run("INSERT INTO {held} VALUES (%s, %s)", [self._key, held.tobytes()])
        self._run(
            "UPDATE {indices} SET documents = documents + %s, chunks = chunks + %s, words = words + %s"
            " WHERE name = %s",
            [documents, self.chunks - self._removed, self._words, self._name],
        )
        lists.count(self._cursor, self._name, self._before, self._terms, self._pieces)

    def _row(self, embedded: EmbeddedChunk) -> tuple[object, ...]:
        chunk = embedded.chunk
        if not 0 <= chunk.ordinal <= MAX_ORDINAL:
            raise InvalidRequest(f"A chunk's ordinal is {chunk.ordinal}: it must count from 0.")
        return (
            self._key,
            chunk.ordinal,
            chunk.page,
            chunk.start,
            chunk.end,
            [storable(part) for part in chunk.heading],
            storable(chunk.text),
            vector_text(embedded.vector, self._dimensions),
        )

    def _numbers(self) -> str:
        return statement("{numbers}", self._name).as_string(self._cursor)

    def _run(self, text: str, values: list[object]) -> None:
        self._cursor.execute(statement(text, self._name), values)


def _dimensions(cursor: Cursor, index: Index) -> int:
    cursor.execute(
        statement("SELECT dimensions FROM {indices} WHERE name = %s", name_of(index)), [name_of(index)]
    )
    found = cursor.fetchone()
    if found is None:
        raise unknown(index)
    return int(found[0])


def unknown(index: Index) -> NotFound:
    return NotFound(
        f"The collection {index.collection_id!r} of the repository {index.repository_id!r} has no index "
        f"of generation {index.generation}."
    )


def _lock(cursor: Cursor, name: str, document_id: str) -> tuple[int, str, bool]:
    """The document's row, which nobody else changes until this transaction ends; made when there is none."""
    find = statement("SELECT key, sequencer, removed FROM {documents} WHERE id = %s FOR UPDATE", name)
    while True:
        cursor.execute(find, [document_id])
        found = cursor.fetchone()
        if found is not None:
            return int(found[0]), str(found[1]), bool(found[2])
        cursor.execute(
            statement(
                "INSERT INTO {documents} (id, sequencer, removed) VALUES (%s, '', true)"
                " ON CONFLICT (id) DO NOTHING",
                name,
            ),
            [document_id],
        )


def _describe(cursor: Cursor, name: str, key: int, document: StoredDocument, chunks: int) -> None:
    attributes = {
        storable(word): storable(value) if isinstance(value, str) else value
        for word, value in document.attributes.items()
    }
    cursor.execute(
        statement(
            "UPDATE {documents} SET sequencer = %s, removed = false, chunks = %s, name = %s, source = %s, owner = %s,"
            " media_type = %s, uploaded_at = %s, tags = %s::text[], attributes = %s::jsonb WHERE key = %s",
            name,
        ),
        [
            document.sequencer,
            chunks,
            storable(document.name),
            storable(document.source),
            storable(document.owner),
            storable(document.media_type),
            document.uploaded_at,
            [storable(tag) for tag in document.tags],
            json.dumps(attributes),
            key,
        ],
    )


def storable(text: str) -> str:
    """PostgreSQL's texts hold neither the character 0 nor half of a surrogate pair."""
    return text.replace("\x00", "").encode(errors="replace").decode()


def vector_text(vector: Vector, dimensions: int) -> str:
    """A vector as pgvector reads it, of length 1: half precision would not hold large numbers, and an angle is one."""
    if len(vector) != dimensions:
        raise InvalidRequest(
            f"A vector has {len(vector)} dimensions; this collection's have {dimensions}.", field="vector"
        )
    numbers = [float(number) for number in vector]
    length = math.hypot(*numbers)
    if not math.isfinite(length):
        raise InvalidRequest("A vector holds a number that is not finite.", field="vector")
    scale = 1 / length if length else 0.0
    return "[" + ",".join([f"{number * scale:.6g}" for number in numbers]) + "]"
