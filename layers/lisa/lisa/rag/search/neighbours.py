"""The second stage: chunks whose neighbours fit the query fit it themselves, those that stand alone fit it less.

That texts close to each other answer the same questions is the cluster hypothesis; regularising the scores of a first
ranking by it is described by F. Diaz, "Regularizing ad hoc retrieval scores" (CIKM 2005). Neighbours are found among
the candidates by the words they share, so that it costs no model and no vector. The mean that is taken is a kernel
smoother's (Nadaraya and Watson, 1964). Measured in docs/decisions/0014-search.md.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from lisa.rag.search.fusion import Candidate, ranked
from lisa.rag.vectors.analysis import words_of

# How many of the best are looked at; what is below keeps its place behind them.
DEPTH = 100
NEIGHBOURS = 5

Matrix = npt.NDArray[np.float32]


def regularise(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Candidates by the mean of their own score and those of their nearest neighbours.

    Their own counts 1, a neighbour's the square root of the likeness: less than 1, so that of two that are alike the
    better one stays the better. Chunks of one document are no neighbours: they share its title. A chunk that is like
    no other keeps its score.
    """
    head, tail = candidates[:DEPTH], candidates[DEPTH:]
    if len(head) < 2:
        return list(candidates)
    weights = np.sqrt(_likeness([words_of(each.hit.chunk) for each in head]).clip(0, 1))
    documents = np.array([each.hit.document.id for each in head])
    weights[documents[:, None] == documents[None, :]] = 0.0
    if len(head) > NEIGHBOURS:
        nearest = np.partition(weights, -NEIGHBOURS, axis=1)[:, -NEIGHBOURS, None]
        weights = np.where(weights >= nearest, weights, 0.0)
    scores = np.array([each.fused for each in head])
    mixed = (scores + weights @ scores) / (1 + weights.sum(axis=1))
    lifted = ranked([replace(each, score=float(score)) for each, score in zip(head, mixed, strict=True)])
    last = lifted[-1].score
    return lifted + [replace(each, score=min(each.score, last)) for each in tail]


def _likeness(texts: Sequence[list[str]]) -> Matrix:
    """Cosine similarity of all pairs, (n, n): words weigh (1 + ln tf) ln((n + 1) / df), df counted in these texts."""
    counts = [Counter(words) for words in texts]
    document_frequency = Counter(word for each in counts for word in each)
    column = {word: number for number, word in enumerate(document_frequency)}
    rarity = [math.log((len(texts) + 1) / frequency) for frequency in document_frequency.values()]
    matrix = np.zeros((len(texts), len(column)), np.float32)
    for row, each in enumerate(counts):
        for word, count in each.items():
            place = column[word]
            matrix[row, place] = (1 + math.log(count)) * rarity[place]
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    matrix /= np.where(lengths > 0, lengths, 1)
    likeness: Matrix = matrix @ matrix.T
    return likeness
