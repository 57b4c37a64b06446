"""A search asks each arm within one snapshot of the database."""

from psycopg2.extensions import cursor as Cursor

from lisa.errors import InvalidRequest
from lisa.rag.vectors.base import Arms, Index, Mode, Query, Reader
from lisa.rag.vectors.pgvector import dense, lexical
from lisa.rag.vectors.pgvector.scope import scope_of
from lisa.rag.vectors.pgvector.writing import vector_text

# Every statement that follows looks up few rows by their keys. The planner, which knows neither how few nor, in a new
# index, how many there are, would at times read a whole table instead.
_SETTINGS = (
    "SELECT set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),"
    " set_config('enable_mergejoin', 'off', true)"
)


def search(cursor: Cursor, index: Index, query: Query, reader: Reader) -> Arms:
    scope = scope_of(cursor, index, reader, query.filter)
    vector = _vector(query, scope.dimensions)
    if not scope.is_visible or not scope.chunks:
        return Arms()
    cursor.execute(_SETTINGS)
    return Arms(
        dense.search(cursor, scope, vector, query.limit) if vector is not None else (),
        lexical.search(cursor, scope, query.text, query.limit) if query.mode is not Mode.DENSE else (),
    )


def _vector(query: Query, dimensions: int) -> str | None:
    if query.mode is Mode.LEXICAL:
        return None
    if query.vector is None:
        raise InvalidRequest(f"A {query.mode} search needs the query's vector.", field="vector")
    if not any(query.vector):
        raise InvalidRequest("The query's vector is zero: it is near to nothing.", field="vector")
    return vector_text(query.vector, dimensions)
