"""What plain libraries reach on the same documents: BM25 by bm25s, and exact search of whole documents' vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lisa_local.evaluation.dataset import Dataset

Rankings = Mapping[str, list[str]]
_DEPTH = 100
_BATCH = 32


class Missing(Exception):
    """A package that only development installs is not there."""


def bm25(dataset: Dataset) -> Rankings:
    """Lucene's variant with its constants, English stop words and stemmer. Raises Missing."""
    try:
        import bm25s
        import Stemmer
    except ImportError as error:
        raise Missing(f"{error.name} is not installed") from None
    stemmer = Stemmer.Stemmer("english")

    def tokens(texts: Sequence[str]) -> Any:
        return bm25s.tokenize(
            list(texts), stopwords="en", stemmer=stemmer, return_ids=False, show_progress=False
        )

    index = bm25s.BM25(method="lucene", k1=1.2, b=0.75)
    index.index(tokens([document.whole for document in dataset.documents]), show_progress=False)
    ids = [document.id for document in dataset.documents]
    found = {}
    for key, words in zip(dataset.queries, tokens(list(dataset.queries.values())), strict=True):
        scores = index.get_scores(words)
        best = sorted(range(len(ids)), key=lambda place: -scores[place])[:_DEPTH]
        found[key] = [ids[place] for place in best if scores[place] > 0]
    return found


def exact_dense(dataset: Dataset, embed: Callable[[Sequence[str]], list[list[float]]]) -> Rankings:
    """Cosine similarity of the query to each whole document, as far as the model reads it. Raises Missing."""
    try:
        import numpy as np
    except ImportError as error:
        raise Missing(f"{error.name} is not installed") from None

    def vectors(texts: Sequence[str]) -> Any:
        rows = [row for start in range(0, len(texts), _BATCH) for row in embed(texts[start : start + _BATCH])]
        matrix = np.array(rows, np.float32)
        return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)

    scores = vectors(list(dataset.queries.values())) @ vectors([each.whole for each in dataset.documents]).T
    ids = [document.id for document in dataset.documents]
    best = np.argsort(-scores, axis=1, kind="stable")[:, :_DEPTH]
    return {key: [ids[place] for place in row] for key, row in zip(dataset.queries, best, strict=True)}
