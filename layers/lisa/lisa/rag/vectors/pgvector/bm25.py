"""BM25 with Lucene's constants: how well a chunk's words answer a query's.

score(chunk) = sum over the query's words of  idf * tf / (tf + k1 * (1 - b + b * length / average length)),
idf = ln(1 + (N - n + 0.5) / (n + 0.5)) for a word that n of N chunks hold, tf times in this one of `length` words.
Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), as Lucene 8 and later compute
it (without the constant factor k1 + 1); k1 and b are Lucene's and OpenSearch's defaults.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

K1 = 1.2
B = 0.75

# A key says which word and how often: 55 bits of the word's hash, 8 of the count. More often counts as 255 times,
# where the score is within half a percent of what more could bring.
TF_BITS = 8
MAX_TF = (1 << TF_BITS) - 1


@lru_cache(maxsize=65_536)
def term(word: str) -> int:
    """A word as a number; two of a million words share one with a probability of 1 in 70,000."""
    digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) >> 9


def key(of_term: int, tf: int) -> int:
    return of_term << TF_BITS | min(tf, MAX_TF)


def keys(words: Iterable[str]) -> list[int]:
    return sorted(key(of_term, tf) for of_term, tf in Counter(map(term, words)).items())


def tf_of(of_key: int) -> int:
    return of_key & MAX_TF


def term_of(of_key: int) -> int:
    return of_key >> TF_BITS


def idf(chunks: int, holding: int) -> float:
    return math.log(1 + (chunks - holding + 0.5) / (holding + 0.5))


def saturation(tf: int, length: float, average: float) -> float:
    return tf / (tf + K1 * (1 - B + B * length / average))
