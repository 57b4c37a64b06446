"""The lexical arm: exact BM25 (see `bm25`). The lists of a query's words are read whole and scored; then the best are
looked up, best first, until enough of them are there and fit the filter.
"""

from collections import Counter, defaultdict

import numpy as np
from psycopg2.extensions import cursor as Cursor

from lisa.rag.vectors.analysis import words
from lisa.rag.vectors.base import Hit
from lisa.rag.vectors.pgvector import bm25, rows
from lisa.rag.vectors.pgvector.scope import Scope

_LISTS = (
    "SELECT t.term, t.chunks, p.entries FROM {terms} AS t JOIN {postings} AS p USING (term)"
    " WHERE {visible} AND t.term = ANY(%s)"
)
_FITTING = (
    "SELECT c.number FROM {documents} AS d JOIN {chunks} AS c ON c.document = d.key"
    " WHERE c.document = ANY(%s::int[]) AND {visible} AND {fits}"
)
_BEST = (
    f"SELECT best.place, {rows.HIT} FROM unnest(%s::int[]) WITH ORDINALITY AS best (number, place)"
    " JOIN {chunks} AS c USING (number) JOIN {documents} AS d ON d.key = c.document"
    " WHERE {visible} AND {fits} ORDER BY best.place LIMIT %s"
)


def search(cursor: Cursor, scope: Scope, text: str, limit: int) -> tuple[Hit, ...]:
    lists = _lists(cursor, scope, Counter(map(bm25.term, words(text))))
    if not lists:
        return ()
    numbers, scores = bm25.score(lists, scope.words / scope.chunks)
    if scope.documents is not None:
        cursor.execute(
            scope.statement(_FITTING), [scope.documents, *scope.visible_values, *scope.fits_values]
        )
        fitting = np.isin(numbers, np.array([number for (number,) in cursor], np.int64))
        numbers, scores = numbers[fitting], scores[fitting]
    hits: list[Hit] = []
    looked_at, window = 0, limit + limit // 2
    best = _best(numbers, scores, window)
    while len(hits) < limit and looked_at < len(numbers):
        if looked_at + window > len(best):
            best = _best(numbers, scores, looked_at + window)
        looked = best[looked_at : looked_at + window]
        cursor.execute(
            scope.statement(_BEST),
            [numbers[looked].tolist(), *scope.visible_values, *scope.fits_values, limit - len(hits)],
        )
        hits += [rows.hit(row, float(scores[looked[place - 1]])) for place, *row in cursor]
        looked_at += len(looked)
        window *= 4
    return tuple(hits)


def _best(numbers: bm25.Numbers, scores: bm25.Scores, count: int) -> bm25.Numbers:
    """Places of the best, best first; of equals the one that was written first."""
    places: bm25.Numbers = np.arange(len(scores), dtype=np.int64)
    if count < len(scores):
        places = np.flatnonzero(scores >= np.partition(scores, -count)[-count])
    best: bm25.Numbers = places[np.lexsort((numbers[places], -scores[places]))]
    return best


def _lists(cursor: Cursor, scope: Scope, wanted: Counter[int]) -> list[tuple[float, bm25.Entries]]:
    """For each word of the query that is anywhere: its weight, and where it is."""
    if not wanted:
        return []
    cursor.execute(scope.statement(_LISTS), [*scope.visible_values, list(wanted)])
    pieces = defaultdict(list)
    holding = {}
    for term, chunks, entries in cursor:
        holding[term] = chunks
        pieces[term].append(entries)
    return [
        (wanted[term] * bm25.idf(scope.chunks, holding[term]), bm25.decoded(parts))
        for term, parts in pieces.items()
    ]
