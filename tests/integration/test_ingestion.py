"""From a file in the drop folder to chunks in PostgreSQL, and back, on the local cloud."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from lisa.rag.records import JobStatus

from tests.cloud import TestCloud, eventually
from tests.integration.library import MODEL, Library, made


@pytest.fixture(scope="module")
def library(cloud: TestCloud) -> Iterator[Library]:
    with made(cloud) as library:
        yield library


def test_a_dropped_file_is_ingested_changed_and_removed(library: Library) -> None:
    key = library.put("a/first.txt", "Stately, plump Buck Mulligan came from the stairhead.")
    document = eventually("the document", lambda: library.document(key), within=60)
    assert (document.chunks, document.media_type, document.collection_id) == (1, "text/plain", MODEL)

    library.put("a/first.txt", "# Another text\n\nWith more words than it had before.")
    eventually(
        "the new version", lambda: library.document(key).content_hash != document.content_hash, within=60
    )

    library.s3.delete_object(Bucket=library.bucket, Key=key)
    eventually("the removal", lambda: library.document(key) is None, within=60)
    assert library.count().documents == 0
    eventually("nothing is open", lambda: not library.open(), within=10)


def test_a_file_that_cannot_be_read_says_why(library: Library) -> None:
    key = library.put("empty.txt", "")
    job = eventually("the job", lambda: library.ended(key), within=60)
    assert (job.status, job.code) == (JobStatus.INGESTION_FAILED, "empty")
    library.s3.delete_object(Bucket=library.bucket, Key=key)


def test_a_file_for_nobody_is_seen_by_administrators(library: Library) -> None:
    key = f"no-such-{library.id}/x/a.txt"
    library.s3.put_object(Bucket=library.bucket, Key=key, Body=b"lost")

    def seen() -> bool:
        return any(job.source.endswith(key) for job in library.stores.jobs.unplaced(since=0))

    eventually("the row", seen, within=60)
    library.s3.delete_object(Bucket=library.bucket, Key=key)


def test_three_hundred_files_dropped_at_once_are_ingested_once_in_bounded_memory(library: Library) -> None:
    """Back-pressure is the dispatcher's: some batches at a time, however many files there are."""
    before = library.count()
    with ThreadPoolExecutor(8) as pool:
        texts = (f"File number {n} of many small ones, about the subject {n % 7}." for n in range(300))
        list(pool.map(lambda file: library.put(f"many/{file[0]}.txt", file[1]), enumerate(texts)))
    waiting = 300 - (library.count().documents - before.documents)
    upload = library.put("~admin/mine.txt", "What a person has uploaded and waits for.")
    workers = [0.0]

    def done(number: int) -> bool:
        workers[0] = max(workers[0], _workers_mib(library.cloud))
        return library.count().documents >= before.documents + number

    # An upload has a queue of its own: the last to come, it is there while others that came before it wait.
    eventually("the upload", lambda: done(1) and library.document(upload), within=60)
    assert before.documents + 301 - library.count().documents > waiting / 3
    eventually("all of them", lambda: done(301), within=420)
    found = library.count()
    assert (found.documents, found.chunks) == (before.documents + 301, before.chunks + 301)
    assert found.failed == before.failed or found.failed <= 1
    jobs = [job for job in library.jobs() if "/many/" in job.source]
    assert len(jobs) == 300
    assert {job.status for job in jobs} == {JobStatus.INGESTION_COMPLETED}
    eventually("nothing is open", lambda: not library.open(), within=30)
    assert workers[0] <= 2048, f"{workers[0]:.0f} MiB"


def test_another_buckets_files_come_by_its_events(library: Library) -> None:
    bucket = f"lisa-pipeline-{library.id}"
    library.s3.create_bucket(Bucket=bucket)
    library.s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    name = library.bring_in(bucket, trigger="event")
    key = library.put("in/report.txt", "What came by the pipeline.", bucket=bucket)
    eventually("the document", lambda: library.document(key, name, bucket), within=120)
    library.s3.delete_object(Bucket=bucket, Key=key)
    eventually("the removal", lambda: library.document(key, name, bucket) is None, within=120)


def _workers_mib(cloud: TestCloud) -> float:
    """Memory of all workers of ingestion together, in MiB: what they share is counted once."""
    import psutil

    total = 0
    for process in cloud.functions():
        try:
            if "-Rag-" in process.environ().get("AWS_LAMBDA_FUNCTION_NAME", ""):
                total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return total / (1 << 20)
