"""How good and how fast are the stores of chunks? Recall of the dense arm, exactness of BM25, latency of each arm.

  python bench/vectors.py [--store pgvector|opensearch] [--opensearch-url URL] [--chunks 100000] [--keep FOLDER]

Fills an index through the store's own `replace` (documents of 20 chunks) with vectors around centres and words that
follow Zipf and Mandelbrot's law, or with a corpus of yours (--corpus FILE.jsonl, lines with `text` and `vector`).
Then asks it what nobody has asked before, one query at a time, as the store's users do. Peers in the same run: an
exact scan of all vectors by numpy, BM25 by bm25s, and each arm alone. Exits 1 when a target is missed.

--keep leaves the filled store there and finds it again, so that only searching is measured anew.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import bm25s
import numpy as np
from lisa.errors import NotFound
from lisa.rag import filters
from lisa.rag.vectors.analysis import words
from lisa.rag.vectors.base import (
    Chunk,
    EmbeddedChunk,
    Hit,
    Index,
    Mode,
    Query,
    Reader,
    StoredDocument,
    VectorStore,
    Visibility,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.unit.local.components.conftest import Cloud
from tests.unit.rag.vectors.conftest import address_of

PER_DOCUMENT, TOP, CANDIDATES, ROUNDS, SEED = 20, 10, 50, 3, 7
RECALL, FILTERED_RECALL, HYBRID_MS = 0.98, 0.95, 25.0
READER = Reader(user="bench", groups=frozenset())
Floats = np.ndarray


@dataclass
class Corpus:
    texts: list[str]
    vectors: Floats
    questions: list[tuple[str, Floats]]
    """Queries that are no part of the corpus."""

    percent: Floats = field(init=False)
    """A number from 0 to 99 for each chunk, its document's: what filters ask for."""

    def __post_init__(self) -> None:
        self.vectors /= np.linalg.norm(self.vectors, axis=1, keepdims=True)
        documents = -(-len(self.texts) // PER_DOCUMENT)
        drawn = np.random.default_rng(SEED + 1).integers(0, 100, documents)
        self.percent = np.repeat(drawn, PER_DOCUMENT)[: len(self.texts)]

    def documents(self) -> Iterator[tuple[StoredDocument, list[EmbeddedChunk]]]:
        for number, first in enumerate(range(0, len(self.texts), PER_DOCUMENT)):
            stored = StoredDocument(
                f"document {number}", f"{number}.txt", f"s3://b/{number}.txt", "bench", "text/plain", 0, "1",
                attributes={"percent": float(self.percent[first]), "half": bool(number % 2)},
            )  # fmt: skip
            yield (
                stored,
                [
                    EmbeddedChunk(Chunk(ordinal, text, 0, len(text)), vector.tolist())
                    for ordinal, (text, vector) in enumerate(
                        zip(
                            self.texts[first : first + PER_DOCUMENT],
                            self.vectors[first : first + PER_DOCUMENT],
                            strict=True,
                        )
                    )
                ],
            )


def synthetic(chunks: int, dimensions: int, queries: int) -> Corpus:
    """Embeddings of texts lie in clusters and fill far fewer directions than they have dimensions (here 48)."""
    random = np.random.default_rng(SEED)
    basis = random.standard_normal((48, dimensions)) / np.sqrt(48)
    centres = random.standard_normal((500, 48))
    sizes = 1 / np.arange(1, 501)
    total = chunks + queries
    chosen = random.choice(500, total, p=sizes / sizes.sum())
    inner = centres[chosen] + 0.5 * random.standard_normal((total, 48))
    vectors = inner @ basis + 0.02 * random.standard_normal((total, dimensions))
    # Stop words, the first twenty ranks or so, are left out as an analyser leaves them out.
    ranks = np.arange(1, 100_001)
    law = 1 / (ranks + 20.0)
    lengths = random.integers(40, 200, chunks)
    drawn = random.choice(100_000, int(lengths.sum()), p=law / law.sum())
    texts, place = [], 0
    for length in lengths:
        texts.append(" ".join(f"w{rank}" for rank in drawn[place : place + length]))
        place += int(length)
    questions = []
    for number in range(queries):
        # What people ask holds words of one text.
        of = texts[int(random.integers(chunks))].split()
        picked = random.choice(len(of), int(random.integers(3, 11)), replace=False)
        questions.append((" ".join(of[word] for word in picked), vectors[chunks + number]))
    return Corpus(texts, vectors[:chunks].astype(np.float32), questions)


def given(path: Path, chunks: int, queries: int) -> Corpus:
    lines = [json.loads(line) for line in path.read_text().splitlines()[: chunks + queries]]
    asked, kept = lines[-queries:], lines[:-queries]
    return Corpus(
        [line["text"] for line in kept],
        np.array([line["vector"] for line in kept], np.float32),
        [(" ".join(line["text"].split()[:10]), np.array(line["vector"])) for line in asked],
    )


def fill(store: VectorStore, index: Index, corpus: Corpus, writers: int) -> None:
    store.create(index, Visibility())
    begun = time.monotonic()
    with ThreadPoolExecutor(writers) as pool:
        for done, _ in enumerate(pool.map(lambda each: store.replace(index, *each), corpus.documents()), 1):
            if done % 500 == 0:
                rate = done * PER_DOCUMENT / (time.monotonic() - begun)
                print(f"  {done * PER_DOCUMENT:,} chunks, {rate:.0f}/s", file=sys.stderr, flush=True)
    seconds = time.monotonic() - begun
    size = store.size(index)
    print(f"filled in {seconds:.0f} s: {size.chunks / seconds:.0f} chunks/s, {size.bytes / 2**20:.0f} MiB\n")


@dataclass
class Measured:
    milliseconds: list[float]
    found: list[tuple[Sequence[Hit], Sequence[Hit]]]

    def at(self, share: float) -> float:
        return statistics.quantiles(self.milliseconds, n=100)[int(share * 100) - 1]


def measure(store: VectorStore, index: Index, corpus: Corpus, mode: Mode, wanted: object = None) -> Measured:
    """Each query's best time of a few rounds: what others do on a shared machine is not the store's."""
    found_filter = filters.parse(wanted) if wanted else None
    times = [float("inf")] * len(corpus.questions)
    found: list[tuple[Sequence[Hit], Sequence[Hit]]] = []
    for _ in range(ROUNDS):
        found = []
        for number, (text, vector) in enumerate(corpus.questions):
            query = Query(mode, CANDIDATES, text, vector.tolist(), found_filter)
            begun = time.perf_counter()
            arms = store.search(index, query, READER)
            times[number] = min(times[number], (time.perf_counter() - begun) * 1000)
            found.append((arms.dense, arms.lexical))
    return Measured(times, found)


def numbers(hits: Sequence[Hit]) -> list[int]:
    """Places in the corpus of the best that were found."""
    return [int(hit.document.id.split()[1]) * PER_DOCUMENT + hit.chunk.ordinal for hit in hits]


def recall(corpus: Corpus, measured: Measured, fits: Floats) -> float:
    """Of the ten nearest by an exact scan, how many the dense arm has among its ten."""
    places = np.flatnonzero(fits)
    kept = corpus.vectors[places]
    shares = []
    for (_, vector), (dense, _) in zip(corpus.questions, measured.found, strict=True):
        nearest = places[np.argsort(-(kept @ (vector / np.linalg.norm(vector))))[:TOP]]
        shares.append(len(set(nearest.tolist()) & set(numbers(dense)[:TOP])) / min(TOP, len(places)))
    return statistics.mean(shares)


def best(work: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        work()
        times.append((time.perf_counter() - begun) * 1000)
    return min(times)


def scan(corpus: Corpus) -> list[float]:
    def nearest(query: Floats) -> Floats:
        return np.argpartition(-(corpus.vectors @ query), CANDIDATES)

    return [best(partial(nearest, vector.astype(np.float32))) for _, vector in corpus.questions]


def _best_by(reference: bm25s.BM25, asked: list[str]) -> Floats:
    return np.argpartition(-reference.get_scores(asked), CANDIDATES)


def bm25(corpus: Corpus, measured: Measured) -> tuple[list[float], float]:
    """Latency of bm25s, and the largest difference between its best ten scores and the store's."""
    reference = bm25s.BM25(method="lucene", k1=1.2, b=0.75)
    reference.index([words(text) for text in corpus.texts], show_progress=False)
    times, worst = [], 0.0
    for (text, _), (_, lexical) in zip(corpus.questions, measured.found, strict=True):
        asked = [word for word in words(text) if word in reference.vocab_dict]
        if not asked:
            continue
        times.append(best(partial(_best_by, reference, asked)))
        wanted = np.sort(reference.get_scores(asked))[::-1][:TOP].tolist()
        got = [hit.score for hit in lexical[:TOP]]
        worst = max(
            [worst, *(abs(mine - its) / its for mine, its in zip(got, wanted, strict=True) if its > 0)]
        )
    return times, worst


def report(store: VectorStore, index: Index, corpus: Corpus) -> bool:
    one = {"type": "eq", "key": "percent", "value": 37}
    ten = {"type": "lt", "key": "percent", "value": 10}
    runs = {
        "dense": measure(store, index, corpus, Mode.DENSE),
        "lexical": measure(store, index, corpus, Mode.LEXICAL),
        "hybrid": measure(store, index, corpus, Mode.HYBRID),
        "hybrid, 1 % filter": measure(store, index, corpus, Mode.HYBRID, one),
        "hybrid, 10 % filter": measure(store, index, corpus, Mode.HYBRID, ten),
        "hybrid, 50 % filter": measure(
            store, index, corpus, Mode.HYBRID, {"type": "eq", "key": "half", "value": True}
        ),
    }
    scanned = scan(corpus)
    reference, difference = bm25(corpus, runs["lexical"])
    alone = runs["dense"].at(0.5)
    exact = statistics.median(scanned)
    print("| search | p50 ms | p95 ms | beside the dense arm alone | beside an exact scan |")
    print("| --- | --- | --- | --- | --- |")
    for name, run in runs.items():
        p50 = run.at(0.5)
        print(f"| {name} | {p50:.1f} | {run.at(0.95):.1f} | {p50 / alone:.2f} x | {p50 / exact:.2f} x |")
    print(f"| exact scan (numpy) | {exact:.1f} | | {exact / alone:.2f} x | 1 x |")
    bare = statistics.median(reference)
    print(f"| BM25 (bm25s) | {bare:.1f} | | {bare / alone:.2f} x | {bare / exact:.2f} x |\n")

    everything = np.ones(len(corpus.texts), bool)
    half = np.repeat(np.arange(len(corpus.texts) // PER_DOCUMENT + 1) % 2 == 1, PER_DOCUMENT)
    checks: list[tuple[str, float, Callable[[float], bool]]] = [
        ("recall@10", recall(corpus, runs["hybrid"], everything), lambda found: found >= RECALL),
    ]
    for name, fits in (
        ("1 %", corpus.percent == 37),
        ("10 %", corpus.percent < 10),
        ("50 %", half[: len(corpus.texts)]),
    ):
        run = runs[f"hybrid, {name} filter"]
        checks.append(
            (f"recall@10, {name} filter", recall(corpus, run, fits), lambda found: found >= FILTERED_RECALL)
        )
        least = min(len(dense) for dense, _ in run.found)
        wanted = min(CANDIDATES, int(fits.sum()))
        checks.append((f"least hits of {wanted}, {name} filter", least, lambda found, w=wanted: found >= w))
    checks.append(("BM25 beside bm25s, largest difference", difference, lambda found: found < 0.001))
    checks.append(("hybrid p95 ms", runs["hybrid"].at(0.95), lambda found: found <= HYBRID_MS))
    met = True
    for name, value, good in checks:
        met &= good(value)
        print(f"{'met   ' if good(value) else 'MISSED'} {name}: {value:.4g}")
    return met


def opened(name: str, url: str, folder: Path) -> tuple[VectorStore, Callable[[], None]]:
    if name == "opensearch":
        from lisa.rag.vectors.opensearch import Address as OpenSearchAddress
        from lisa.rag.vectors.opensearch import OpenSearchStore

        opensearch = OpenSearchStore(OpenSearchAddress(url, prefix="bench"))
        return opensearch, opensearch.close
    from lisa.rag.vectors.pgvector import PgvectorStore

    cloud = Cloud(folder)
    cloud.write_config()
    cloud.start("postgres")
    store = PgvectorStore(address_of(folder))

    def close() -> None:
        store.close()
        cloud.close()

    return store, close


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--store", choices=("pgvector", "opensearch"), default="pgvector")
    parser.add_argument("--opensearch-url", default="http://127.0.0.1:9200")
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--dimensions", type=int, default=384)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--writers", type=int, default=2, help="documents that are put in at a time")
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    if arguments.corpus:
        corpus = given(arguments.corpus, arguments.chunks, arguments.queries)
    else:
        corpus = synthetic(arguments.chunks, arguments.dimensions, arguments.queries)
    # What is kept is found again only by the same numbers, which make the same corpus.
    made_of = f"{arguments.corpus} {arguments.chunks} {arguments.queries}"
    index = Index("bench", made_of, 1, corpus.vectors.shape[1])
    with TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        store, close = opened(arguments.store, arguments.opensearch_url, folder)
        try:
            try:
                filled = store.size(index).chunks == len(corpus.texts)
            except NotFound:
                filled = False
            if not filled:
                fill(store, index, corpus, arguments.writers)
            return 0 if report(store, index, corpus) else 1
        finally:
            close()


if __name__ == "__main__":
    sys.exit(main())
