"""The dense arm: the nearest chunks by cosine, over pgvector's HNSW index or, where few fit, over all of them."""

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from lisa.rag.vectors.base import Hit
from lisa.rag.vectors.pgvector import rows
from lisa.rag.vectors.pgvector.scope import Scope

SEARCHED = 100
"""How many candidates the index keeps while it searches (`hnsw.ef_search`); see decision 0009 for the recall."""

# The index's answer is taken in its own order. `relaxed_order` goes on searching when the filter leaves too few, and
# the outer statement sorts. The planner would rather sort everything that fits a filter, which is slow.
_SETTINGS = (
    "SELECT set_config('hnsw.ef_search', %s, true), set_config('hnsw.iterative_scan', 'relaxed_order', true),"
    " set_config('hnsw.max_scan_tuples', '40000', true), set_config('enable_sort', 'off', true)"
)
_APPROXIMATE = (
    "WITH nearest AS MATERIALIZED (SELECT c.number, c.embedding <=> %s::halfvec AS distance FROM {chunks} AS c{join}"
    " WHERE {visible} AND {fits} ORDER BY c.embedding <=> %s::halfvec LIMIT %s)"
    f" SELECT 1 - distance, {rows.HIT} FROM nearest JOIN {{chunks}} AS c USING (number)"
    " JOIN {documents} AS d ON d.key = c.document"
)
# `+ 0` keeps the index out of it.
_EXACT = (
    "WITH nearest AS MATERIALIZED (SELECT c.number, (c.embedding <=> %s::halfvec) + 0 AS distance"
    " FROM {documents} AS d JOIN {chunks} AS c ON c.document = d.key"
    " WHERE c.document = ANY(%s::int[]) AND {visible} AND {fits} ORDER BY distance LIMIT %s)"
    f" SELECT 1 - distance, {rows.HIT} FROM nearest JOIN {{chunks}} AS c USING (number)"
    " JOIN {documents} AS d ON d.key = c.document"
)


def search(cursor: Cursor, scope: Scope, vector: str, limit: int) -> tuple[Hit, ...]:
    if scope.documents is not None:
        cursor.execute(
            scope.statement(_EXACT),
            [vector, scope.documents, *scope.visible_values, *scope.fits_values, limit],
        )
    else:
        cursor.execute(_SETTINGS, [str(min(max(SEARCHED, 2 * limit), 1000))])
        join = scope.statement(" JOIN {documents} AS d ON d.key = c.document")
        cursor.execute(
            scope.statement(_APPROXIMATE, join=join if scope.filtered else sql.SQL("")),
            [vector, *scope.visible_values, *scope.fits_values, vector, limit],
        )
    hits = [rows.hit(row, float(similarity)) for similarity, *row in cursor]
    return tuple(sorted(hits, key=lambda hit: (-hit.score, hit.document.id, hit.chunk.ordinal)))
