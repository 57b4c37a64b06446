"""How good a ranking is, by judgements of people.

nDCG@k: gains divided by log2(rank + 1), added up, over the same sum of the best possible ranking (K. Järvelin and
J. Kekäläinen, "Cumulated gain-based evaluation of IR techniques", ACM TOIS 20(4), 2002; gains are the judgements
themselves, as in trec_eval's ndcg_cut). Recall@k: the share of all relevant documents among the first k.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence


def ndcg(ranking: Sequence[str], judgements: Mapping[str, int], k: int) -> float:
    """0 to 1; `ranking` holds documents once each, best first. 0 where no document is relevant."""
    ideal = _gain(sorted(judgements.values(), reverse=True)[:k])
    if ideal <= 0:
        return 0.0
    return _gain([judgements.get(document, 0) for document in ranking[:k]]) / ideal


def recall(ranking: Sequence[str], judgements: Mapping[str, int], k: int) -> float:
    """0 to 1; 0 where no document is relevant."""
    relevant = {document for document, judgement in judgements.items() if judgement > 0}
    return len(relevant.intersection(ranking[:k])) / len(relevant) if relevant else 0.0


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _gain(judgements: Sequence[int]) -> float:
    return sum(max(0, gain) / math.log2(rank + 1) for rank, gain in enumerate(judgements, 1))
