"""The dense arm: the nearest chunks by cosine, over pgvector's HNSW index or, where few fit, over all of them."""

from typing import TYPE_CHECKING

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from lisa.rag.vectors.pgvector.schema import statement
from lisa.rag.vectors.pgvector.writing import vector_text

if TYPE_CHECKING:
    from lisa.rag.vectors.pgvector.searching import Scope

__all__ = ["search", "vector_text"]

SEARCHED = 200
"""How many candidates the index keeps while it searches (`hnsw.ef_search`); see decision 0009 for the recall."""

# The index's answer is taken in its own order. `relaxed_order` goes on searching when the filter leaves too few, and
# the outer statement sorts. The planner would rather sort everything that fits a filter, which is slow.
_SETTINGS = (
    "SELECT set_config('hnsw.ef_search', %s, true), set_config('hnsw.iterative_scan', 'relaxed_order', true),"
    " set_config('hnsw.max_scan_tuples', '40000', true), set_config('enable_sort', 'off', true),"
    " set_config('enable_seqscan', 'off', true)"
)
_APPROXIMATE = (
    "WITH nearest AS MATERIALIZED (SELECT c.chunk, c.embedding <=> %s::halfvec AS distance FROM {chunks} AS c{join}"
    " WHERE {condition} ORDER BY c.embedding <=> %s::halfvec LIMIT %s)"
    " SELECT chunk, 1 - distance FROM nearest ORDER BY distance, chunk"
)
# `+ 0` keeps the index out of it.
_EXACT = (
    "SELECT c.chunk, 1 - (c.embedding <=> %s::halfvec) FROM {documents} AS d JOIN {chunks} AS c ON c.document = d.key"
    " WHERE {condition} ORDER BY (c.embedding <=> %s::halfvec) + 0, c.chunk LIMIT %s"
)


def search(cursor: Cursor, scope: "Scope", vector: str, limit: int) -> list[tuple[int, float]]:
    """Chunks' numbers with their cosine similarity, best first."""
    if not scope.selective:
        cursor.execute(_SETTINGS, [str(min(max(SEARCHED, 2 * limit), 1000))])
    join = statement(" JOIN {documents} AS d ON d.key = c.document", scope.name)
    cursor.execute(
        statement(
            _EXACT if scope.selective else _APPROXIMATE,
            scope.name,
            condition=scope.condition,
            join=join if scope.filtered else sql.SQL(""),
        ),
        [vector, *scope.values, vector, limit],
    )
    found = [(int(chunk), float(similarity)) for chunk, similarity in cursor]
    if not scope.selective:
        cursor.execute("SELECT set_config('enable_sort', 'on', true)")
    return found
