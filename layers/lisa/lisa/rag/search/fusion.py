"""From two rankings of chunks to one. The only place where scores of different kinds meet.

Measured in docs/decisions/0014-search.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lisa.rag.vectors.base import Arms, Hit

# A BM25 score that says as much as half of all there is to say: it lifts the lexical score to 0.5.
HALF_LEXICAL = 10.0
DENSE_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Candidate:
    """A chunk that was found, and where. Ranks count from 1; None where an arm did not find it.

    `dense` is cosine similarity (-1 to 1), `lexical` BM25 (0 and more), `fused` and `score` lie between 0 and 1.
    """

    hit: Hit
    dense: float | None = None
    dense_rank: int | None = None
    lexical: float | None = None
    lexical_rank: int | None = None
    fused: float = 0.0
    rerank: float | None = None
    score: float = 0.0


def fuse(arms: Arms, limit: int) -> list[Candidate]:
    """All chunks of both arms, best first; `limit` is how many each arm was asked for.

    The fused score is the mean of both arms' scores, each between 0 and 1: max(0, cosine), and b / (b + 10) for a
    BM25 of b. So it says how well a chunk fits, not only that it fits better than others. A chunk that a full arm did
    not find is given the score of the last that it did: it cannot be better.
    """
    both = _merge(arms)
    dense_floor = dense_score(arms.dense[-1].score) if len(arms.dense) >= limit else 0.0
    lexical_floor = lexical_score(arms.lexical[-1].score) if len(arms.lexical) >= limit else 0.0
    scored = []
    for each in both:
        dense = dense_floor if each.dense is None else dense_score(each.dense)
        lexical = lexical_floor if each.lexical is None else lexical_score(each.lexical)
        fused = DENSE_SHARE * dense + (1 - DENSE_SHARE) * lexical
        scored.append(replace(each, fused=fused, score=fused))
    return ranked(scored)


def one_arm(arms: Arms) -> list[Candidate]:
    """The chunks of the only arm that was asked, in its own order and on the scale of the fused score."""
    found = []
    for each in _merge(arms):
        score = dense_score(each.dense) if each.dense is not None else lexical_score(each.lexical or 0.0)
        found.append(replace(each, fused=score, score=score))
    return ranked(found)


def ranked(candidates: Sequence[Candidate]) -> list[Candidate]:
    """By score; of equals the one that an arm found earlier comes first, so that the order is always the same."""
    return sorted(
        candidates,
        key=lambda each: (
            -each.score,
            min(rank for rank in (each.dense_rank, each.lexical_rank) if rank is not None),
            each.hit.document.id,
            each.hit.chunk.ordinal,
        ),
    )


def dense_score(cosine: float) -> float:
    """Between 0 and 1; texts that have nothing to do with each other are near 0."""
    return min(1.0, max(0.0, cosine))


def lexical_score(bm25: float) -> float:
    """Between 0 and 1: BM25 has no upper end."""
    return max(0.0, bm25) / (max(0.0, bm25) + HALF_LEXICAL)


def _merge(arms: Arms) -> list[Candidate]:
    found: dict[tuple[str, int], Candidate] = {}
    for rank, hit in enumerate(arms.dense, 1):
        found.setdefault(_key(hit), Candidate(hit, dense=hit.score, dense_rank=rank))
    for rank, hit in enumerate(arms.lexical, 1):
        each = found.get(_key(hit), Candidate(hit))
        if each.lexical_rank is None:
            found[_key(hit)] = replace(each, lexical=hit.score, lexical_rank=rank)
    return list(found.values())


def _key(hit: Hit) -> tuple[str, int]:
    return hit.document.id, hit.chunk.ordinal
