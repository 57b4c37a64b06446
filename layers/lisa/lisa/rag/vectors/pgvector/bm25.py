"""BM25 with Lucene's constants: how well a chunk's words answer a query's.

score(chunk) = sum over the query's words of  idf * tf / (tf + k1 * (1 - b + b * length / average length)),
idf = ln(1 + (N - n + 0.5) / (n + 0.5)) for a word that n of N chunks hold, tf times in this one of `length` words.
Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), as Lucene 8 and later compute
it (without the constant factor k1 + 1); k1 and b are Lucene's and OpenSearch's defaults.

A posting list is bytes: an entry of seven for each chunk that holds the word. PostgreSQL keeps them, numpy scores them.
"""

import hashlib
import math
import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

K1 = 1.2
B = 0.75

ENTRY = np.dtype([("number", "<i4"), ("length", "<u2"), ("tf", "u1")])
_ENTRY = struct.Struct("<iHB").pack
# More words than these count as these; what that can change of a score is far below a thousandth.
MAX_LENGTH = 65_535
MAX_TF = 255

Entries = NDArray[np.void]
Numbers = NDArray[np.int64]
Scores = NDArray[np.float64]


@lru_cache(maxsize=65_536)
def term(word: str) -> int:
    """A word as a number of 63 bits; two of a million words share one with a probability of 1 in 18 million."""
    digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) >> 1


def encoded(entries: Iterable[tuple[int, int, int]]) -> bytes:
    """Entries of (chunk's number, its length in words, how often it holds the word)."""
    return b"".join(
        [_ENTRY(number, min(length, MAX_LENGTH), min(tf, MAX_TF)) for number, length, tf in entries]
    )


def decoded(parts: Sequence[bytes | memoryview]) -> Entries:
    return np.frombuffer(b"".join(parts), ENTRY)


def idf(chunks: int, holding: int) -> float:
    return math.log(1 + (chunks - holding + 0.5) / (holding + 0.5))


def score(lists: Sequence[tuple[float, Entries]], average: float) -> tuple[Numbers, Scores]:
    """Numbers of chunks and their scores, best first, from each word's weight and entries."""
    numbers = np.concatenate([entries["number"] for _, entries in lists])
    if not len(numbers):
        return np.empty(0, np.int64), np.empty(0)
    parts = []
    for weight, entries in lists:
        tf = entries["tf"].astype(np.float64)
        parts.append(weight * tf / (tf + K1 * (1 - B) + (K1 * B / average) * entries["length"]))
    # A place for every number between the first and the last is faster than sorting, while there are not too many.
    first = int(numbers.min())
    span = int(numbers.max()) - first + 1
    if span <= 64 * len(numbers) + 1_000_000:
        sums = np.bincount(numbers - first, np.concatenate(parts), span)
        found = np.flatnonzero(sums)
        return (found + first).astype(np.int64), sums[found].astype(np.float64)
    found, places = np.unique(numbers, return_inverse=True)
    return found.astype(np.int64), np.bincount(places, np.concatenate(parts)).astype(np.float64)
