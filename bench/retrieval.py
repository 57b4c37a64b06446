"""How well is a collection searched? `lisa rag eval` of a running local cloud, for both stores where there are both.

  python bench/retrieval.py DATASET [--repository ID ...]

DATASET is a folder with docs.jsonl, queries.*.jsonl and qrels.*.tsv. Prints nDCG@10, recall and latency through the
product's API for dense, lexical, fused and hybrid search, beside bm25s and exact search in the same run. Exits 1 when
hybrid search is below one of its arms.
"""

import argparse
import sys
from pathlib import Path

from lisa_local.cloud import LocalCloud
from lisa_local.evaluation.run import evaluate
from lisa_local.home import Home


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--repository", action="append", metavar="ID", help="default: default")
    options = parser.parse_args()
    worse = False
    for repository in options.repository or ["default"]:
        found = evaluate(
            LocalCloud(Home.locate()),
            options.dataset,
            repository=repository,
            collection=options.dataset.resolve().name,
        )
        score = {each.way: each.ndcg_10 for each in found}
        worse |= score["hybrid"] < max(score["dense"], score["lexical"])
    return int(worse)


if __name__ == "__main__":
    sys.exit(main())
