"""What goes on for longer or goes wrong on the way: long files, a new index, schedules, parts that are away."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from lisa.rag.records import JobStatus

from tests.cloud import TestCloud, eventually
from tests.integration.library import MODEL, Library, made


@pytest.fixture(scope="module")
def library(cloud: TestCloud) -> Iterator[Library]:
    with made(cloud) as library:
        yield library


def found(library: Library, words: str) -> list[str]:
    """Texts of the pieces that a search answers."""
    path = f"/api/repository/{library.id}/similaritySearch?collectionId={MODEL}&topK=10&query={quote(words)}"
    answer = library.cloud.call("GET", path)
    assert answer.status == 200, answer
    return [hit["Document"]["page_content"] for hit in answer.body["docs"]]


def test_a_long_file_has_an_execution_of_its_own(library: Library) -> None:
    # More than the 8 MiB that are read in a batch with others, and hardly any text.
    page = f"<html><body><!-- {'x' * (9 << 20)} --><p>The lighthouse keeper counts ships.</p></body></html>"
    key = f"{library.id}/{MODEL}/long.html"
    library.s3.put_object(Bucket=library.bucket, Key=key, Body=page.encode(), ContentType="text/html")
    document = eventually("the document", lambda: library.document(key), within=120)
    assert document.chunks == 1
    assert any("lighthouse" in text for text in found(library, "who counts ships"))
    job = eventually("the job's end", lambda: library.ended(key), within=30)
    assert (job.status, job.chunks_done) == (JobStatus.INGESTION_COMPLETED, 1)
    machines = library.cloud.session.client("stepfunctions")
    long = next(
        each["stateMachineArn"]
        for page in machines.get_paginator("list_state_machines").paginate()
        for each in page["stateMachines"]
        if "DocumentIngestLong" in each["name"]
    )
    assert "SUCCEEDED" in {
        each["status"] for each in machines.list_executions(stateMachineArn=long)["executions"]
    }


def test_a_collection_is_searched_while_it_is_indexed_anew(library: Library) -> None:
    # Given
    key = library.put("anew.txt", " ".join(f"Sentence {n} tells of the tide at the mill." for n in range(60)))
    before = eventually("the document", lambda: library.document(key), within=60)
    path = f"/api/repository/{library.id}/collection/{MODEL}"

    # When
    strategy = {"type": "fixed", "size": 100, "overlap": 0}
    answer = library.cloud.call("POST", f"{path}/reindex", body={"chunkingStrategy": strategy})
    assert answer.status == 200, answer

    # Then
    def flipped() -> bool:
        assert any("mill" in text for text in found(library, "tide at the mill"))
        document = library.document(key)
        return document is not None and document.chunking.size == 100

    eventually("the new index", flipped, within=180)
    assert library.document(key).chunks > before.chunks
    assert any("mill" in text for text in found(library, "tide at the mill"))
    after = library.cloud.call("GET", path).body
    assert after["chunkingStrategy"]["size"] == 100


def test_a_schedule_is_made_and_runs(library: Library) -> None:
    bucket = f"lisa-pipeline-s-{library.id}"
    library.s3.create_bucket(Bucket=bucket)  # tells of nothing: it is looked through
    name = library.bring_in(bucket, trigger="schedule", schedule="rate(1 minute)")
    library.at_rest()
    # It was looked through when the pipeline was made; what comes now is the schedule's to find.
    first = library.put("in/first.txt", "Found by a look.", bucket=bucket)
    eventually("the document", lambda: library.document(first, name, bucket), within=180)
    library.s3.delete_object(Bucket=bucket, Key=first)
    eventually("the removal", lambda: library.document(first, name, bucket) is None, within=180)


def test_what_was_dropped_for_nobody_is_ingested_once_it_has_a_place(library: Library) -> None:
    # Given
    key = f"{library.id}/Sea%20charts/reef.txt"
    library.s3.put_object(Bucket=library.bucket, Key=key, Body=b"A reef lies before the harbour.")

    def lost() -> str:
        jobs = [job for job in library.stores.jobs.unplaced(since=0) if job.source.endswith(key)]
        return jobs[0].id if jobs else ""

    job_id = eventually("the failed job", lost, within=60)
    body = {"name": "Sea charts"}
    collection = library.cloud.call("POST", f"/api/repository/{library.id}/collection", body=body)
    assert collection.status in (200, 201), collection

    # When
    again = library.cloud.call("POST", f"/api/repository/{library.id}/jobs/{job_id}/redrive")
    assert again.status == 200, again

    # Then
    document = eventually("the document", lambda: library.document(key), within=90)
    assert document.collection_id == collection.body["collectionId"]


@pytest.mark.parametrize("part", ["model", "postgres"])
def test_what_is_dropped_while_a_part_is_away_is_ingested_once_it_is_back(
    library: Library, part: str
) -> None:
    # Given
    before = library.count()

    # When
    if part == "model":
        for process in library.cloud.containers(MODEL):
            process.kill()
    else:
        os.kill(library.cloud.component_pid("postgres"), signal.SIGKILL)
    keys = [library.put(f"{part}/{number}.txt", f"Note {number} of the {part}.") for number in range(12)]

    # Then
    eventually("all of them", lambda: all(library.document(key) for key in keys), within=180)
    after = library.count()
    assert (after.documents, after.chunks) == (before.documents + 12, before.chunks + 12)
    assert after.failed == before.failed
    eventually("nothing is open", lambda: not library.open(), within=30)
