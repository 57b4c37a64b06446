"""`lisa rag eval`: fill, search every way, and print a table beside what plain libraries reach."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from lisa_local.cloud import LocalCloud
from lisa_local.evaluation import baselines
from lisa_local.evaluation.dataset import Dataset
from lisa_local.evaluation.metrics import ndcg, percentile, recall
from lisa_local.evaluation.product import Product

WAYS: Mapping[str, Mapping[str, str]] = {
    "dense": {"mode": "dense"},
    "lexical": {"mode": "lexical"},
    "fused (both arms)": {"mode": "hybrid", "rerank": "false"},
    "hybrid": {"mode": "hybrid"},
}
DEPTH = 50


@dataclass(frozen=True, slots=True)
class Measured:
    """Means over all queries; latencies in milliseconds, None where nothing was asked over the network."""

    way: str
    ndcg_10: float
    recall_10: float
    recall_50: float
    p50_ms: float | None = None
    p95_ms: float | None = None


def evaluate(
    cloud: LocalCloud,
    folder: Path,
    *,
    repository: str,
    collection: str,
    rerank: str = "",
    peers: bool = True,
    report: Path | None = None,
) -> list[Measured]:
    """Prints a row for each way to search. Raises Problem when the dataset or the product cannot be used."""
    dataset = Dataset.read(folder)
    product = Product(cloud, lambda line: print(f"  {line}", flush=True))
    place = product.collection(repository, collection)
    dropped = product.fill(place, dataset)
    print(
        f"{dataset.name}: {len(dataset.documents):,} documents ({dropped:,} dropped now, {dataset.empty} empty left "
        f"out), {len(dataset.queries):,} queries; collection {place.name} of {place.repository} "
        f"({place.repository_type}, {place.model})\n"
    )
    ways = dict(WAYS)
    if rerank:
        ways[f"hybrid + {rerank}"] = {"mode": "hybrid", "rerankModel": rerank}
    print(f"{'':<26}{'nDCG@10':>9}{'recall@10':>11}{'recall@50':>11}{'p50 ms':>9}{'p95 ms':>9}")
    found = []
    for way, options in ways.items():
        answers = {key: product.search(place, text, **options) for key, text in dataset.queries.items()}
        rankings = {key: ranking for key, (ranking, _) in answers.items()}
        times = [seconds * 1000 for _, seconds in answers.values()]
        found.append(_shown(measure(way, dataset, rankings, times)))
    if peers:
        print("beside, in this run:")
        found += _peers(product, place.model, dataset)
    if report:
        report.write_text(json.dumps([asdict(each) for each in found], indent=2) + "\n")
    return found


def measure(
    way: str, dataset: Dataset, rankings: baselines.Rankings, times: list[float] | None = None
) -> Measured:
    def mean(score: Callable[..., float], k: int) -> float:
        scores = [score(rankings[key], dataset.judgements[key], k) for key in dataset.queries]
        return sum(scores) / len(scores)

    return Measured(
        way,
        mean(ndcg, 10),
        mean(recall, 10),
        mean(recall, DEPTH),
        percentile(times, 0.5) if times else None,
        percentile(times, 0.95) if times else None,
    )


def _peers(product: Product, model: str, dataset: Dataset) -> list[Measured]:
    ways: dict[str, Callable[[], baselines.Rankings]] = {
        "bm25s, whole documents": lambda: baselines.bm25(dataset),
        "exact dense, whole docs": lambda: baselines.exact_dense(
            dataset, lambda texts: product.embed(model, texts)
        ),
    }
    found = []
    for way, rank in ways.items():
        try:
            found.append(_shown(measure(way, dataset, rank())))
        except baselines.Missing as missing:
            print(f"{way:<26}left out: {missing} (make setup-dev)")
    return found


def _shown(each: Measured) -> Measured:
    line = f"{each.way:<26}{each.ndcg_10:>9.4f}{each.recall_10:>11.4f}{each.recall_50:>11.4f}"
    if each.p50_ms is not None and each.p95_ms is not None:
        line += f"{each.p50_ms:>9.0f}{each.p95_ms:>9.0f}"
    print(line, flush=True)
    return each
