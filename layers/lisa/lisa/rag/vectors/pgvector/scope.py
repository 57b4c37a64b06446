"""What one search may find: who asks, which chunks fit, and how few those are."""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from lisa.rag.filters import Filter
from lisa.rag.vectors.base import Index, Reader
from lisa.rag.vectors.pgvector import filters
from lisa.rag.vectors.pgvector.schema import name_of, statement
from lisa.rag.vectors.pgvector.writing import unknown

EXACT_CHUNKS = 5_000
"""A filter that leaves no more chunks than these is answered by looking at all of them (decision 0009)."""

# Without groups everyone sees an index, or only its owner where it has one; the owner and administrators always.
_VISIBLE = "(%s OR i.groups && %s::text[] OR (i.owner <> '' AND i.owner = %s) OR (i.groups = '{{}}' AND i.owner = ''))"


@dataclass(frozen=True, slots=True)
class Scope:
    """Conditions with the values that they bind, in order; every statement that reads chunks has `visible` in it.

    `fits` is the filter's condition, of a document `d` and a chunk `c`. Where so few chunks fit that all of them are
    looked at, `documents` holds their documents' keys. `chunks` and `words` count the whole index, with which BM25
    compares.
    """

    name: str
    dimensions: int
    chunks: int
    words: int
    is_visible: bool
    visible: sql.Composable
    visible_values: tuple[object, ...]
    fits: sql.Composable
    fits_values: tuple[object, ...]
    filtered: bool
    documents: list[int] | None

    def statement(self, text: str, **more: sql.Composable) -> sql.Composed:
        return statement(text, self.name, visible=self.visible, fits=self.fits, **more)


def scope_of(cursor: Cursor, index: Index, reader: Reader, wanted: Filter | None) -> Scope:
    """Raises NotFound for an index that was never created."""
    name = name_of(index)
    may_see = (reader.is_admin, sorted(reader.groups), reader.user)
    cursor.execute(
        statement(
            f"SELECT {_VISIBLE}, dimensions, chunks, words FROM {{indices}} AS i WHERE name = %s", name
        ),
        [*may_see, name],
    )
    found = cursor.fetchone()
    if found is None:
        raise unknown(index)
    is_visible, dimensions, chunks, words = found
    condition, values = filters.compile_filter(wanted)
    return Scope(
        name=name,
        dimensions=int(dimensions),
        chunks=int(chunks),
        words=int(words),
        is_visible=bool(is_visible),
        visible=statement(f"EXISTS (SELECT 1 FROM {{indices}} AS i WHERE i.name = %s AND {_VISIBLE})", name),
        visible_values=(name, *may_see),
        fits=sql.SQL(condition),
        fits_values=tuple(values),
        filtered=wanted is not None,
        documents=_few(cursor, name, wanted, values, condition)
        if wanted is not None and is_visible
        else None,
    )


def _few(
    cursor: Cursor, name: str, wanted: Filter, values: Sequence[object], condition: str
) -> list[int] | None:
    """Keys of the documents whose chunks fit, or None when those are too many to look at.

    They are named to the statements that follow, because the planner cannot guess how few fit a filter.
    """
    pages = filters.asks_for_pages(wanted)
    source = "{documents} AS d JOIN {chunks} AS c ON c.document = d.key" if pages else "{documents} AS d"
    counted = "1" if pages else "d.chunks"
    cursor.execute(
        statement(
            f"SELECT d.key, {counted} FROM {source} WHERE NOT d.removed AND {condition} LIMIT %s",
            name,
        ),
        [*values, EXACT_CHUNKS + 1],
    )
    found = cursor.fetchall()
    if sum(chunks for _, chunks in found) > EXACT_CHUNKS or len(found) > EXACT_CHUNKS:
        return None
    return sorted({key for key, _ in found})
