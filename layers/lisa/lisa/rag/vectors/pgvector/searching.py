"""A search: who may see the index, how selective the filter is, what each arm finds, and what is shown of it.

Every statement that reads documents asks again whether the reader may see the index.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from lisa.errors import InvalidRequest
from lisa.rag.vectors.base import Arms, Chunk, Hit, Index, Mode, Query, Reader, StoredDocument
from lisa.rag.vectors.pgvector import dense, filters, lexical
from lisa.rag.vectors.pgvector.schema import name_of, statement
from lisa.rag.vectors.pgvector.writing import unknown

EXACT_CHUNKS = 5_000
"""A filter that leaves no more chunks than these is answered by looking at all of them (decision 0009)."""

# Without groups everyone sees an index, or only its owner where it has one; the owner and administrators always.
_VISIBLE = "(%s OR i.groups && %s::text[] OR (i.owner <> '' AND i.owner = %s) OR (i.groups = '{{}}' AND i.owner = ''))"
_HIT = (
    "c.chunk, c.page, c.first_character, c.last_character, c.heading, c.text,"
    " d.id, d.name, d.source, d.owner, d.media_type, d.uploaded_at, d.sequencer, d.tags, d.attributes"
)
_DOCUMENT = 6
"""Where in `_HIT` the document's columns begin."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What may be found: the conditions that stand in every statement, with the values that they bind in order.

    `selective` says that so few chunks fit the filter that all of them are looked at. `chunks` and `words` count
    the whole index, as the documents that BM25 compares with.
    """

    name: str
    condition: sql.Composable
    values: tuple[object, ...]
    selective: bool
    filtered: bool
    chunks: int
    words: int


def search(cursor: Cursor, index: Index, query: Query, reader: Reader) -> Arms:
    name = name_of(index)
    may_see: list[object] = [reader.is_admin, sorted(reader.groups), reader.user]
    cursor.execute(
        statement(
            f"SELECT {_VISIBLE}, dimensions, chunks, words FROM {{indices}} AS i WHERE name = %s", name
        ),
        [*may_see, name],
    )
    found = cursor.fetchone()
    if found is None:
        raise unknown(index)
    visible, dimensions, chunks, words = found
    vector = _vector(query, int(dimensions))
    if not visible or not chunks:
        return Arms()
    fits, values = filters.compile_filter(query.filter)
    exists = statement(f"EXISTS (SELECT 1 FROM {{indices}} AS i WHERE i.name = %s AND {_VISIBLE})", name)
    scope = Scope(
        name,
        sql.Composed([exists, sql.SQL(f" AND {fits}")]),
        (name, *may_see, *values),
        query.filter is not None and _is_selective(cursor, name, query, fits, values),
        query.filter is not None,
        int(chunks),
        int(words),
    )
    by_vector = dense.search(cursor, scope, vector, query.limit) if vector is not None else []
    by_words = lexical.search(cursor, scope, query.text, query.limit) if query.mode is not Mode.DENSE else []
    hits = _hits(cursor, scope, {chunk for chunk, _ in (*by_vector, *by_words)})
    return Arms(
        tuple(Hit(*hits[chunk], score) for chunk, score in by_vector),
        tuple(Hit(*hits[chunk], score) for chunk, score in by_words),
    )


def _vector(query: Query, dimensions: int) -> str | None:
    if query.mode is Mode.LEXICAL:
        return None
    if query.vector is None:
        raise InvalidRequest(f"A {query.mode} search needs the query's vector.", field="vector")
    if not any(query.vector):
        raise InvalidRequest("The query's vector is zero: it is near to nothing.", field="vector")
    return dense.vector_text(query.vector, dimensions)


def _is_selective(cursor: Cursor, name: str, query: Query, fits: str, values: Sequence[object]) -> bool:
    pages = filters.asks_for_pages(query.filter)
    source = "{documents} AS d JOIN {words} AS c ON c.document = d.key" if pages else "{documents} AS d"
    counted = "1" if pages else "d.chunks"
    cursor.execute(
        statement(
            f"SELECT coalesce(sum(chunks), 0) FROM"
            f" (SELECT {counted} AS chunks FROM {source} WHERE NOT d.removed AND {fits} LIMIT %s) AS few",
            name,
        ),
        [*values, EXACT_CHUNKS + 1],
    )
    row = cursor.fetchone()
    return row is not None and int(row[0]) <= EXACT_CHUNKS


def _hits(cursor: Cursor, scope: Scope, chunks: set[int]) -> dict[int, tuple[StoredDocument, Chunk]]:
    if not chunks:
        return {}
    cursor.execute(
        sql.Composed(
            [
                statement(
                    f"SELECT {_HIT} FROM {{chunks}} AS c JOIN {{documents}} AS d ON d.key = c.document"
                    " WHERE c.chunk = ANY(%s) AND ",
                    scope.name,
                ),
                scope.condition,
            ]
        ),
        [list(chunks), *scope.values],
    )
    return {row[0]: (_document(row[_DOCUMENT:]), chunk_of(row[:_DOCUMENT])) for row in cursor}


def chunk_of(row: Sequence[object]) -> Chunk:
    number, page, start, end, heading, text = row
    return Chunk(
        ordinal=int(number) & 0xFFFF_FFFF,  # type: ignore[call-overload]
        text=str(text),
        start=int(start),  # type: ignore[call-overload]
        end=int(end),  # type: ignore[call-overload]
        heading=tuple(heading),  # type: ignore[arg-type]
        page=page,  # type: ignore[arg-type]
    )


def _document(row: Sequence[object]) -> StoredDocument:
    id_, name, source, owner, media_type, uploaded_at, sequencer, tags, attributes = row
    return StoredDocument(
        id=str(id_),
        name=str(name),
        source=str(source),
        owner=str(owner),
        media_type=str(media_type),
        uploaded_at=int(uploaded_at),  # type: ignore[call-overload]
        sequencer=str(sequencer),
        tags=tuple(tags),  # type: ignore[arg-type]
        attributes=attributes,  # type: ignore[arg-type]
    )


CHUNK_COLUMNS = ", ".join(_HIT.split(", ")[:_DOCUMENT])
