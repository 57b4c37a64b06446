"""The lexical arm: BM25 over an inverted index, exact (see `bm25` for the formula).

Each posting list of the GIN index belongs to a word and how often it is in a chunk, so that reading a list is all it
takes to score. `terms` says how long each list is.
"""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg2.extensions import cursor as Cursor

from lisa.rag.vectors.analysis import words
from lisa.rag.vectors.pgvector import bm25
from lisa.rag.vectors.pgvector.schema import statement

if TYPE_CHECKING:
    from lisa.rag.vectors.pgvector.searching import Scope

_LISTS = (
    "SELECT t.key, t.chunks FROM unnest(%s::bigint[]) AS wanted (term)"
    " JOIN {terms} AS t ON t.key BETWEEN wanted.term << 8 AND wanted.term << 8 | 255"
)
_SCORE = "sum(q.weight * q.tf / (q.tf + %s + %s * c.length))"
_BY_LISTS = (
    f"SELECT c.chunk, {_SCORE} AS score"
    " FROM unnest(%s::bigint[], %s::float8[], %s::float8[]) AS q (key, tf, weight)"
    " JOIN {words} AS c ON c.keys @> ARRAY[q.key] JOIN {documents} AS d ON d.key = c.document"
    " WHERE {condition} GROUP BY c.chunk ORDER BY score DESC, c.chunk LIMIT %s"
)
_BY_CHUNKS = (
    f"SELECT c.chunk, {_SCORE} AS score FROM {{documents}} AS d JOIN {{words}} AS c ON c.document = d.key"
    " CROSS JOIN LATERAL unnest(c.keys) AS held (key)"
    " JOIN unnest(%s::bigint[], %s::float8[], %s::float8[]) AS q (key, tf, weight) ON q.key = held.key"
    " WHERE {condition} GROUP BY c.chunk ORDER BY score DESC, c.chunk LIMIT %s"
)


@dataclass(frozen=True, slots=True)
class _List:
    """A posting list: chunks that hold a word `tf` times. `weight` is the word's idf, times its count in the query."""

    key: int
    tf: int
    chunks: int
    weight: float


def search(cursor: Cursor, scope: "Scope", text: str, limit: int) -> list[tuple[int, float]]:
    """Chunks' numbers with their BM25 score, best first; those that share no word with the text are not found."""
    lists = _lists(cursor, scope, Counter(map(bm25.term, words(text))))
    if not lists:
        return []
    average = scope.words / scope.chunks
    cursor.execute(
        statement(_BY_CHUNKS if scope.selective else _BY_LISTS, scope.name, condition=scope.condition),
        [
            bm25.K1 * (1 - bm25.B),
            bm25.K1 * bm25.B / average,
            [each.key for each in lists],
            [each.tf for each in lists],
            [each.weight for each in lists],
            *scope.values,
            limit,
        ],
    )
    return [(int(chunk), float(score)) for chunk, score in cursor]


def _lists(cursor: Cursor, scope: "Scope", wanted: Counter[int]) -> list[_List]:
    if not wanted:
        return []
    cursor.execute(statement(_LISTS, scope.name), [list(wanted)])
    found = [(int(key), int(chunks)) for key, chunks in cursor]
    holding: Counter[int] = Counter()
    for key, chunks in found:
        holding[bm25.term_of(key)] += chunks
    return [
        _List(
            key,
            bm25.tf_of(key),
            chunks,
            bm25.idf(scope.chunks, holding[bm25.term_of(key)]) * wanted[bm25.term_of(key)],
        )
        for key, chunks in found
    ]
