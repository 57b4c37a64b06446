"""Posting lists in PostgreSQL: each in pieces that writers append and, now and then, put together.

Who changes `terms` holds the lock on the index's row (see `writing`), so counts and pieces always agree.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

import numpy as np
from psycopg2.extensions import cursor as Cursor

from lisa.rag.vectors.pgvector import bm25
from lisa.rag.vectors.pgvector.schema import statement

MANY_PIECES = 16
"""A list of so many pieces is put together: a row of its own costs more than what is in it."""

FULL = 4096
"""Entries of a piece that is not touched again."""

AT_ONCE = 128
"""Lists that one transaction puts together at most, so that nobody waits long for it."""

_MORE = (
    "INSERT INTO {terms} AS t (term, chunks, entries, pieces) SELECT * FROM {changes}"
    " ON CONFLICT (term) DO UPDATE SET chunks = t.chunks + EXCLUDED.chunks, entries = t.entries + EXCLUDED.entries,"
    " pieces = t.pieces + EXCLUDED.pieces RETURNING t.term, t.chunks, t.entries, t.pieces"
)
_FEWER = (
    "UPDATE {terms} AS t SET chunks = t.chunks + c.chunks, entries = t.entries + c.entries,"
    " pieces = t.pieces + c.pieces FROM {changes} WHERE t.term = c.term"
    " RETURNING t.term, t.chunks, t.entries, t.pieces"
)
_CHANGES = "unnest(%s::bigint[], %s::int[], %s::int[], %s::int[]) AS c (term, chunks, entries, pieces)"


@dataclass(frozen=True, slots=True)
class _List:
    """A word's list: how many chunks hold it, and the entries and pieces in which those, and some more, are said."""

    term: int
    chunks: int
    entries: int
    pieces: int


def append(cursor: Cursor, name: str, held: Mapping[int, Sequence[tuple[int, int, int]]]) -> None:
    """A further piece for each word: entries of (chunk's number, its length, how often it holds the word)."""
    _add_pieces(cursor, name, ((term, bm25.encoded(entries)) for term, entries in held.items()))


def count(
    cursor: Cursor,
    name: str,
    before: Mapping[int, int],
    after: Mapping[int, int],
    pieces: Mapping[int, int],
) -> None:
    """How many chunks hold each word, now that a document's count went from `before` to `after`."""
    changes = [
        _List(term, after.get(term, 0) - before.get(term, 0), after.get(term, 0), pieces.get(term, 0))
        for term in sorted(before.keys() | after.keys())
    ]
    more = _change(cursor, name, _MORE, [change for change in changes if change.chunks >= 0])
    fewer = _change(cursor, name, _FEWER, [change for change in changes if change.chunks < 0])
    gone = _array(found.term for found in fewer if not found.chunks)
    cursor.execute(statement("DELETE FROM {terms} WHERE term = ANY(%s::bigint[])", name), [gone])
    cursor.execute(statement("DELETE FROM {postings} WHERE term = ANY(%s::bigint[])", name), [gone])
    ripe = [found for found in (*more, *fewer) if found.chunks and found.pieces >= MANY_PIECES]
    if ripe:
        _put_together(cursor, name, ripe[:AT_ONCE])


def _change(cursor: Cursor, name: str, text: str, changes: Sequence[_List]) -> list[_List]:
    if not changes:
        return []
    cursor.execute(
        statement(text.replace("{changes}", _CHANGES), name),
        [
            _array(change.term for change in changes),
            _array(change.chunks for change in changes),
            _array(change.entries for change in changes),
            _array(change.pieces for change in changes),
        ],
    )
    return [_List(*row) for row in cursor]


def _put_together(cursor: Cursor, name: str, ripe: Sequence[_List]) -> None:
    """One piece, or few full ones, of the many that a list has become; without the chunks that are gone."""
    stale = {found.term for found in ripe if found.entries > found.chunks}
    cursor.execute(
        statement(
            "DELETE FROM {postings} WHERE term = ANY(%s::bigint[])"
            # What is gone may be anywhere; else what is full stays as it is.
            " AND (octet_length(entries) < %s OR term = ANY(%s::bigint[])) RETURNING term, entries",
            name,
        ),
        [_array(found.term for found in ripe), FULL * bm25.ENTRY.itemsize, _array(stale)],
    )
    pieces = defaultdict(list)
    for term, entries in cursor:
        pieces[int(term)].append(entries)
    joined = {term: bm25.decoded(parts) for term, parts in pieces.items()}
    there = _there(cursor, name, [joined[term]["number"] for term in stale])
    for term in stale:
        joined[term] = joined[term][np.isin(joined[term]["number"], there)]
    _add_pieces(
        cursor,
        name,
        (
            (term, entries[first : first + FULL].tobytes())
            for term, entries in joined.items()
            for first in range(0, len(entries), FULL)
        ),
    )
    cursor.execute(
        statement(
            "UPDATE {terms} SET pieces = 1, entries = CASE WHEN term = ANY(%s::bigint[]) THEN chunks ELSE entries END"
            " WHERE term = ANY(%s::bigint[])",
            name,
        ),
        [_array(stale), _array(joined)],
    )


def _there(cursor: Cursor, name: str, numbers: Sequence[bm25.Numbers]) -> bm25.Numbers:
    """Those of the chunks that have not been replaced or removed."""
    if not numbers:
        return np.empty(0, np.int64)
    cursor.execute(
        statement("SELECT number FROM {chunks} WHERE number = ANY(%s::int[])", name),
        [_array(np.unique(np.concatenate(numbers)).tolist())],
    )
    return np.array([number for (number,) in cursor], np.int64)


def _add_pieces(cursor: Cursor, name: str, pieces: Iterable[tuple[int, bytes]]) -> None:
    lines = StringIO("".join([f"{term}\t\\\\x{entries.hex()}\n" for term, entries in pieces]))
    cursor.copy_expert(statement("COPY {postings} (term, entries) FROM STDIN", name), lines)


def _array(numbers: Iterable[Any]) -> str:
    """Numbers as PostgreSQL reads an array of them, which is far quicker than binding each."""
    return "{" + ",".join(map(str, numbers)) + "}"
