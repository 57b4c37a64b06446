"""Ingestion on a running local cloud: drop to searchable, many small files at once, and how busy it keeps the embedder.

    LISA_HOME=DIR .venv/bin/lisa up
    .venv/bin/python bench/ingestion.py --cloud DIR --files 10000 --corpus 5000

Makes a repository of its own and removes it. The embedder's own speed is measured in the same run, over the gateway,
with the same texts in requests of 64, two at a time: what ingestion gets of it is the ratio that counts. Many small
files are compared with the same pipeline around workers that do nothing (bench/ingestion_empty.py), in the same run.
"""

import argparse
import random
import statistics
import sys
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
from ingestion_empty import EmptyPipeline  # beside this file
from lisa import dynamo
from lisa.rag.documents import naming, rows
from lisa.rag.documents.stores import Stores
from lisa_local import processes
from lisa_local.bringup.users import Directory
from lisa_local.cloud import LocalCloud
from lisa_local.home import Home
from lisa_local.supervisor.control import Control

MODEL = "all-minilm-l6-v2"
WORDS = [
    f"{a}{b}"
    for a in ("con", "per", "trans", "in", "de", "pro")
    for b in ("form", "port", "duct", "sist", "fer")
]
PAGE_WORDS = 400
EMPTY_FILES = 2_000  # of the pipeline that has nothing to do
CHUNK_WORDS = 70  # with these words about 220 tokens, of the 254 that MiniLM reads


def text(words: int, seed: int) -> str:
    chosen = random.Random(seed)
    sentences = [" ".join(chosen.choices(WORDS, k=12)).capitalize() + "." for _ in range(max(1, words // 12))]
    return " ".join(sentences)


class Cloud:
    def __init__(self, path: Path) -> None:
        self.home = Home(path)
        self.local = LocalCloud(self.home)
        self.token = Directory(self.local).token("admin")
        pages = self.local.client("lambda").get_paginator("list_functions").paginate()
        # `lisa-Rag-1a2b3c-DocumentCheck-4D5E6F`
        self.functions = {
            each["FunctionName"].split("-")[-2]: each
            for page in pages
            for each in page["Functions"]
            if "-Rag-" in each["FunctionName"]
        }
        environment = self.functions["DocumentCheck"]["Environment"]["Variables"]
        self.table, self.bucket = environment["LISA_DOCUMENTS_TABLE"], environment["LISA_DOCUMENTS_BUCKET"]
        self.dynamodb, self.s3 = self.local.client("dynamodb"), self.local.client("s3")
        self.stores = Stores.of(self.table, self.dynamodb)
        self.repository = f"bench-{uuid.uuid4().hex[:8]}"

    def call(self, method: str, path: str, body: Any = None) -> Any:
        return self.local.call(method, path, token=self.token, body=body)

    def make(self) -> None:
        body = {
            "repositoryId": self.repository,
            "type": "pgvector",
            "rdsConfig": {},
            "embeddingModelId": MODEL,
        }
        answer = self.call("POST", "/api/repository", body)
        if answer.status not in (200, 201):
            sys.exit(f"no repository: {answer.body}")
        # Without overlap, so that the texts that are embedded are those that the embedder is measured with.
        strategy = {"type": "fixed", "size": 256, "overlap": 0}
        place = f"/api/repository/{self.repository}/collection"
        made = self.call("POST", place, {"name": "bench", "chunkingStrategy": strategy})
        if made.status not in (200, 201):
            sys.exit(f"no collection: {made.body}")
        self.collection = made.body["collectionId"]
        until(lambda: self.call("GET", f"{place}/{self.collection}").body.get("status") == "ACTIVE", 120)

    def put(self, path: str, content: str) -> str:
        key = f"{self.repository}/{self.collection}/{path}"
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=content.encode(), ContentType="text/plain")
        return key

    def is_there(self, key: str) -> bool:
        found = self.dynamodb.get_item(
            TableName=self.table,
            Key=rows.document_key(naming.document_id(self.bucket, key)),
            ConsistentRead=True,
        )
        return "Item" in found and bool(dynamo.from_item(found["Item"]))

    def count(self) -> Any:
        return self.stores.documents.count(self.repository, self.collection)

    def waiting(self) -> int:
        queues = self.local.client("sqs")
        url = next(each for each in queues.list_queues()["QueueUrls"] if "WorkQueue" in each)
        found = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
        return int(found["Attributes"]["ApproximateNumberOfMessages"])

    def workers_mib(self) -> float:
        cloud = Control(self.home).status()
        emulator = cloud.components["emulator"]["pid"] if cloud else None
        total = 0
        for process in processes.tree(emulator)[1:] if emulator else []:
            try:
                if "-Rag-" in process.environ().get("AWS_LAMBDA_FUNCTION_NAME", ""):
                    total += process.memory_full_info().pss  # what they share is counted once
            except psutil.Error:
                continue
        return total / (1 << 20)


def until(condition: Callable[[], bool], seconds: float, pause: float = 0.05) -> float:
    started = time.perf_counter()
    while not condition():
        if time.perf_counter() - started > seconds:
            sys.exit(f"not within {seconds:.0f} s")
        time.sleep(pause)
    return time.perf_counter() - started


def latency(cloud: Cloud) -> None:
    times = []
    for number in range(6):
        key = cloud.put(f"page-{number}.txt", text(PAGE_WORDS, number))
        times.append(until(lambda key=key: cloud.is_there(key), 120))  # type: ignore[misc]
    warm = sorted(times[1:])
    print(
        f"one page, drop to searchable: {times[0]:.2f} s cold, {statistics.median(warm):.2f} s warm (median of 5), "
        f"{warm[-1]:.2f} s at most; target 3 s"
    )


def many(cloud: Cloud, files: int) -> None:
    before, started = cloud.count(), time.perf_counter()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: cloud.put(f"many/{n}.txt", f"File {n}: {text(12, n)}"), range(files)))
    dropped = time.perf_counter() - started
    most, deepest = 0.0, 0

    def done() -> bool:
        nonlocal most, deepest
        most, deepest = max(most, cloud.workers_mib()), max(deepest, cloud.waiting())
        found = cloud.count()
        return found.documents + found.failed >= before.documents + before.failed + files

    until(done, 60 + files, pause=1.0)
    seconds = time.perf_counter() - started
    found = cloud.count()
    print(
        f"{files:,} small files: {seconds:.0f} s ({dropped:.0f} s of it to drop them), {files / seconds:.1f} files/s; "
        f"{found.documents - before.documents:,} ingested, {found.failed - before.failed} failed; "
        f"queue {deepest:,} deep, workers {most:,.0f} MiB at most (2,048 allowed)"
    )
    empty = EmptyPipeline(cloud.local, cloud.functions)
    try:
        empty.run(20)  # functions start
        most_possible = empty.run(min(files, EMPTY_FILES))
    finally:
        empty.close()
    print(
        f"the same pipeline with empty workers: {most_possible:.1f} files/s; "
        f"ratio {files / seconds / most_possible:.2f} (target 0.7)"
    )


def corpus(cloud: Cloud, chunks: int) -> None:
    each = 50
    texts = [text(CHUNK_WORDS, 10_000 + n) for n in range(512)]

    def embed(start: int) -> None:
        body = {"model": MODEL, "input": texts[start : start + 64], "truncate_prompt_tokens": -1}
        answer = cloud.call("POST", "/v1/embeddings", body)
        if answer.status != 200:
            sys.exit(f"the embedder does not answer: {answer.body}")

    embed(0)
    started = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(embed, range(0, len(texts), 64)))
    own = len(texts) / (time.perf_counter() - started)

    before, started = cloud.count(), time.perf_counter()
    paragraphs = [
        "\n\n".join(text(CHUNK_WORDS, 50_000 + d * each + n) for n in range(each))
        for d in range(chunks // each)
    ]
    for number, content in enumerate(paragraphs):
        cloud.put(f"corpus/{number}.txt", content)
    until(lambda: cloud.count().documents >= before.documents + len(paragraphs), 3600, pause=0.5)
    seconds = time.perf_counter() - started
    made = cloud.count().chunks - before.chunks
    print(
        f"corpus of {made:,} chunks: {made / seconds:.1f} texts/s; the embedder by itself {own:.1f} texts/s; "
        f"ratio {made / seconds / own:.2f} (target 0.9)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cloud", type=Path, required=True, help="state folder of a local cloud that runs")
    parser.add_argument("--files", type=int, default=0, help="small files to drop at once")
    parser.add_argument("--corpus", type=int, default=0, help="chunks of a corpus of longer files")
    given = parser.parse_args()
    cloud = Cloud(given.cloud.absolute())
    cloud.make()
    try:
        print(f"load of the machine: {', '.join(f'{each:.1f}' for each in psutil.getloadavg())}")
        latency(cloud)
        if given.files:
            many(cloud, given.files)
        if given.corpus:
            corpus(cloud, given.corpus)
    finally:
        cloud.call("DELETE", f"/api/repository/{cloud.repository}")


if __name__ == "__main__":
    main()
