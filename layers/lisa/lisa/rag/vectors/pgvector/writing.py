"""Putting documents in and taking them out, with the counts that BM25 needs kept exact.

A document's row is locked first, then the index's row, which stays locked until the transaction ends: writers of one
index take turns for the last few milliseconds, and nobody waits for two things in different orders.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice

from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_values

from lisa.errors import InvalidRequest, NotFound
from lisa.rag.vectors.analysis import words_of
from lisa.rag.vectors.base import EmbeddedChunk, Index, StoredDocument, Vector
from lisa.rag.vectors.pgvector import bm25
from lisa.rag.vectors.pgvector.schema import name_of, statement

PAGE = 200
"""Chunks that are held in memory at once."""

ORDINAL_BITS = 32


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
    key, stored, removed = _lock(cursor, name, storable(document_id))
    if stored > sequencer:
        return False
    writer = _Writer(cursor, name, key, _dimensions(cursor, index))
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
        self._terms: Counter[int] = Counter()
        self._words = 0
        self._removed = 0
        self.chunks = 0

    def clear(self) -> None:
        self._cursor.execute(
            statement(
                "SELECT key, count(*) FROM {words}, unnest(keys) AS key WHERE document = %s GROUP BY key",
                self._name,
            ),
            [self._key],
        )
        self._terms.subtract(dict(self._cursor))
        self._cursor.execute(
            statement(
                "WITH gone AS (DELETE FROM {words} WHERE document = %s RETURNING length)"
                " SELECT count(*), coalesce(sum(length), 0) FROM gone",
                self._name,
            ),
            [self._key],
        )
        for chunks, length in self._cursor:
            self._removed, self._words = int(chunks), -int(length)
        self._cursor.execute(statement("DELETE FROM {chunks} WHERE document = %s", self._name), [self._key])

    def add(self, chunks: Iterable[EmbeddedChunk]) -> None:
        remaining = iter(chunks)
        while page := list(islice(remaining, PAGE)):
            rows = [self._row(embedded) for embedded in page]
            execute_values(
                self._cursor,
                statement(
                    "INSERT INTO {chunks} (chunk, document, page, first_character, last_character, heading, text,"
                    " embedding) VALUES %s",
                    self._name,
                ),
                rows,
                template="(%s, %s, %s, %s, %s, %s::text[], %s, %s::halfvec)",
                page_size=PAGE,
            )
            execute_values(
                self._cursor,
                statement("INSERT INTO {words} (chunk, document, page, length, keys) VALUES %s", self._name),
                list(self._words_rows(page)),
                template="(%s, %s, %s, %s, %s::bigint[])",
                page_size=PAGE,
            )
            self.chunks += len(page)

    def _number(self, ordinal: int) -> int:
        if not 0 <= ordinal < 1 << ORDINAL_BITS - 1:
            raise InvalidRequest(f"A chunk's ordinal is {ordinal}: it must count from 0.")
        return self._key << ORDINAL_BITS | ordinal

    def _row(self, embedded: EmbeddedChunk) -> tuple[object, ...]:
        chunk = embedded.chunk
        return (
            self._number(chunk.ordinal),
            self._key,
            chunk.page,
            chunk.start,
            chunk.end,
            [storable(part) for part in chunk.heading],
            storable(chunk.text),
            vector_text(embedded.vector, self._dimensions),
        )

    def _words_rows(self, page: list[EmbeddedChunk]) -> Iterator[tuple[object, ...]]:
        for embedded in page:
            chunk = embedded.chunk
            words = words_of(chunk)
            keys = bm25.keys(words)
            self._terms.update(keys)
            self._words += len(words)
            yield self._number(chunk.ordinal), self._key, chunk.page, len(words), keys

    def count(self, documents: int) -> None:
        """Brings the index's counts up to date; the last thing in a transaction."""
        self._cursor.execute(
            statement(
                "UPDATE {indices} SET documents = documents + %s, chunks = chunks + %s, words = words + %s"
                " WHERE name = %s",
                self._name,
            ),
            [documents, self.chunks - self._removed, self._words, self._name],
        )
        changed = sorted((key, change) for key, change in self._terms.items() if change)
        more = [pair for pair in changed if pair[1] > 0]
        fewer = [pair for pair in changed if pair[1] < 0]
        if more:
            execute_values(
                self._cursor,
                statement(
                    "INSERT INTO {terms} AS t (key, chunks) VALUES %s"
                    " ON CONFLICT (key) DO UPDATE SET chunks = t.chunks + EXCLUDED.chunks",
                    self._name,
                ),
                more,
                page_size=2000,
            )
        if fewer:
            execute_values(
                self._cursor,
                statement(
                    "UPDATE {terms} AS t SET chunks = t.chunks + less.change FROM (VALUES %s) AS less (key, change)"
                    " WHERE t.key = less.key",
                    self._name,
                ),
                fewer,
                page_size=2000,
            )
            self._cursor.execute(
                statement("DELETE FROM {terms} WHERE key = ANY(%s) AND chunks = 0", self._name),
                [[key for key, _ in fewer]],
            )


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
    attributes = {storable(name): value for name, value in document.attributes.items()}
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
            json.dumps(
                {
                    word: storable(value) if isinstance(value, str) else value
                    for word, value in attributes.items()
                }
            ),
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
