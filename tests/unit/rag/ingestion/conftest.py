"""The whole of ingestion in one process: tables, bucket and queue in moto, machines walked by their definitions."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import boto3
import pytest
from lisa import dynamo
from lisa.events import EventPublisher
from lisa.rag.documents import naming
from lisa.rag.documents.queue import WorkQueue
from lisa.rag.documents.service import DocumentService
from lisa.rag.documents.slots import SlotStore
from lisa.rag.documents.stores import Stores
from lisa.rag.documents.uploads import Uploads
from lisa.rag.ingestion.check import CheckDocuments
from lisa.rag.ingestion.commit import CommitDocuments
from lisa.rag.ingestion.dispatch import DispatchDocuments, Message
from lisa.rag.ingestion.embed import EmbedBatch, Progress
from lisa.rag.ingestion.generations import ReindexStore
from lisa.rag.ingestion.items import Batch, Work
from lisa.rag.ingestion.parse import ParseDocuments
from lisa.rag.ingestion.reconcile import ReconcileDocuments
from lisa.rag.ingestion.store import StoreDocuments
from lisa.rag.ingestion.telling import Telling
from lisa.rag.ingestion.work import WorkArea
from lisa.rag.records import Job
from lisa.rag.repositories.lookup import Lookup
from lisa.rag.repositories.store import RepositoryStore
from lisa.rag.vectors.base import Index
from moto import mock_aws

from tests.unit.rag.ingestion.fakes import Chaos, Lines, MemoryStore, Model, Wrapped
from tests.unit.rag.people import collection, person, repository
from tests.unit.tables import create_table

TABLE, REPOSITORIES, BUCKET, OTHER = "documents", "repositories", "drop", "lisa-pipeline-a"
DIMENSIONS = 4
ANN, BOB = person("ann"), person("bob")


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


class World:
    """Everything; `deliver` brings events to the dispatcher as SQS does, `settle` until nothing is left to do."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.chaos = Chaos()
        self.client = boto3.client("dynamodb")
        self.s3 = boto3.client("s3")
        self.sqs = boto3.client("sqs")
        create_table(self.client, TABLE, indexes={"by-place": ("place", "at"), "by-owner": ("ownedBy", "at")})
        create_table(self.client, REPOSITORIES)
        for bucket in (BUCKET, OTHER):
            self.s3.create_bucket(Bucket=bucket)
        self.queue_url = self.sqs.create_queue(QueueName="work")["QueueUrl"]
        self.interactive_url = self.sqs.create_queue(QueueName="interactive")["QueueUrl"]
        self.repositories = RepositoryStore(REPOSITORIES, self.client)
        self.repositories.create_repository(repository())
        self.repositories.create_collection(collection("mini", is_default=True, dimensions=DIMENSIONS))
        self.repositories.create_collection(collection("c-1", name="Case Law", dimensions=DIMENSIONS))
        self.stores = Stores.of(TABLE, self.client)
        self.reindexes = ReindexStore(TABLE, self.client)
        self.chunks = MemoryStore()
        self.model = Model(DIMENSIONS)
        self.files = Lines()
        self.said: list[dict[str, Any]] = []
        self.broken: set[str] = set()  # steps that raise
        self.versions = 0
        self.long_running: dict[str, dict[str, Any]] = {}
        self.build()

    def build(self) -> None:
        """A new process: nothing but what is kept outside survives."""
        chaos = self.chaos
        client = Wrapped(
            self.client, chaos,
            ("put_item", "update_item", "delete_item", "transact_write_items", "batch_write_item"),
        )  # fmt: skip
        s3 = Wrapped(self.s3, chaos, ("put_object", "delete_object", "delete_objects"))
        sqs = Wrapped(self.sqs, chaos, ("send_message_batch",))
        chunks = Wrapped(self.chunks, chaos, ("create", "replace", "retag", "remove"))
        model = Wrapped(self.model, chaos, ("embed",))
        bus = Wrapped(self, chaos, ("put_events",))
        stores, reindexes = Stores.of(TABLE, client), ReindexStore(TABLE, client)
        repositories = RepositoryStore(REPOSITORIES, client)
        uploads = Uploads(BUCKET, s3, max_bytes=1 << 20)
        area = WorkArea(BUCKET, s3)
        self.queue = WorkQueue(self.queue_url, sqs, interactive_url=self.interactive_url)
        self.slots = SlotStore(TABLE, client, slots=1)
        self.check = CheckDocuments(
            repositories, stores, reindexes, drop_bucket=BUCKET, is_there=uploads.is_there, max_bytes=1 << 20,
            clock=self.clock,
        )  # fmt: skip
        self.parse = ParseDocuments(self.files, stores.documents, area, s3, max_bytes=1 << 20)
        self.embed = EmbedBatch(model, area, stores.jobs, clock=self.clock)
        self.store = StoreDocuments(
            repositories, stores, reindexes, area, lambda repository: chunks, drop_bucket=BUCKET
        )
        telling = Telling(EventPublisher("bus", bus), deployment="lisa")
        self.commit = CommitDocuments(
            client, repositories, stores, reindexes, uploads, self.queue, telling, clock=self.clock
        )
        self.area = area
        self.dispatch = DispatchDocuments(self, self.queue, self.slots, drop_bucket=BUCKET, clock=self.clock)
        self.reconcile = ReconcileDocuments(
            client, stores, self.slots, self, uploads, self.queue, self.commit, clock=self.clock
        )
        self.service = DocumentService(
            client, Lookup(repositories), stores, uploads, self.queue, clock=self.clock
        )

    # What stands for Step Functions: the same steps in the same order as in statemachines/document_*.asl.yaml

    def run(self, work: Work, *, removal: bool) -> list[str] | None:
        try:
            return self.walk(work.as_state(), removal=removal)
        except RuntimeError:
            return None

    def start_long(self, work: Work) -> None:
        self.long_running[work.work] = work.as_state()

    def state_of_long(self, name: str) -> str:
        return "running" if name in self.long_running else "unknown"

    def run_long(self) -> None:
        for name, state in list(self.long_running.items()):
            self.walk(state, removal=False)
            del self.long_running[name]
            self.slots.give_back(name)

    def walk(self, state: dict[str, Any], *, removal: bool) -> list[str]:
        state = self._step("check", lambda: self.check(_work(state)).as_state())
        try:
            if state["open"]:
                state = self._remove(state) if removal else self._ingest(state)
        except RuntimeError as error:
            return self.commit(_work(state), f"A step of the ingestion kept failing ({error}).")
        return self._step("commit", lambda: self.commit(_work(state)))

    def _ingest(self, state: dict[str, Any]) -> dict[str, Any]:
        while True:
            state = self._step("parse", partial(self._parse_more, state))
            if not state["left"]:
                break
        progress = Progress(state["items"][0]["job_id"], len(state["batches"])) if state["long"] else None
        embedded = [
            self._step("embed", partial(self.embed, state["work"], Batch.model_validate(batch), progress))
            for batch in state["batches"]
        ]
        return self._step("store", lambda: self.store(_work(state), embedded).as_state())

    def _parse_more(self, state: dict[str, Any]) -> dict[str, Any]:
        return self.parse(_work(state)).as_state()

    def _remove(self, state: dict[str, Any]) -> dict[str, Any]:
        return self._step("store", lambda: self.store(_work(state)).as_state())

    def _step(self, name: str, step: Any) -> Any:
        if name in self.broken:
            raise RuntimeError(f"{name} is broken")
        return json.loads(json.dumps(step()))  # what is no JSON does not travel

    # What stands for S3 and its events

    def put(self, key: str, text: str, *, bucket: str = BUCKET) -> dict[str, Any]:
        """Puts an object; its event, to be delivered."""
        etag = self.s3.put_object(Bucket=bucket, Key=key, Body=text.encode(), ContentType="text/plain")[
            "ETag"
        ]
        return self.event("Object Created", key, bucket, size=len(text.encode()), etag=etag.strip('"'))

    def remove(self, key: str, *, bucket: str = BUCKET) -> dict[str, Any]:
        self.s3.delete_object(Bucket=bucket, Key=key)
        return self.event("Object Deleted", key, bucket)

    def copied(self, job: Job) -> dict[str, Any]:
        """The event of an upload that was copied into the drop folder."""
        bucket, key = naming.split_source(job.source)
        head = self.s3.head_object(Bucket=bucket, Key=key)
        return self.event(
            "Object Created", key, bucket, size=head["ContentLength"], etag=head["ETag"].strip('"')
        )

    def event(self, kind: str, key: str, bucket: str = BUCKET, **fields: Any) -> dict[str, Any]:
        self.versions += 1
        sequencer = f"{self.versions:016X}"
        return {
            "source": "aws.s3",
            "detail-type": kind,
            "detail": {"bucket": {"name": bucket}, "object": {"key": key, "sequencer": sequencer, **fields}},
        }

    def put_events(self, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        self.said += [json.loads(entry["Detail"]) for entry in Entries]
        return {"FailedEntryCount": 0, "Entries": []}

    # What stands for SQS and Lambda

    def deliver(self, *events: dict[str, Any]) -> list[str]:
        self.clock.now += 1
        return self.dispatch([Message(f"m-{n}", json.dumps(event)) for n, event in enumerate(events)])

    def waiting(self, *names: str) -> list[str]:
        """Bodies of what is in the queues (all, or those named) now, whatever its delay, taken out of them."""
        found: list[str] = []
        # moto holds delayed messages back by the real clock, which a test does not wait for.
        from moto.backends import get_backend

        backend = get_backend("sqs")["123456789012"]["us-east-1"]
        for queue in backend.queues.values():
            if names and queue.name not in names:
                continue
            found += [message.body for message in queue._messages if message not in queue.deleted_messages]
            queue._messages.clear()
        return found

    def settle(self, rounds: int = 40) -> None:
        """Delivers what is in the queue, and runs what runs long, until nothing is left."""
        for _ in range(rounds):
            self.run_long()
            bodies = self.waiting()
            if not bodies and not self.long_running:
                return
            self.dispatch([Message(f"q-{n}", body) for n, body in enumerate(bodies)])
        raise AssertionError("it does not come to rest")

    # What is seen

    def index(self, collection_id: str = "c-1", generation: int = 1) -> Index:
        return Index("library", collection_id, generation, DIMENSIONS)

    def texts(
        self, key: str, collection_id: str = "c-1", pipeline: str = "", bucket: str = BUCKET
    ) -> list[str]:
        """The texts of a document's chunks in the index, in their order; empty when it is not there."""
        there = self.chunks.indices.get(self.index(collection_id), {}).get(
            naming.document_id(bucket, key, pipeline)
        )
        return [each.chunk.text for each in there[1]] if there else []

    def jobs(self) -> list[Job]:
        return self.stores.jobs.of_repository("library", owner=None, since=0, limit=None, after=None)[0]

    def open(self) -> list[str]:
        return [each.key for each in self.stores.objects.open_since(1 << 60)]

    def count(self, collection_id: str = "c-1") -> tuple[int, int, int, int]:
        found = self.stores.documents.count("library", collection_id)
        return found.documents, found.chunks, found.bytes, found.failed


def _work(state: dict[str, Any]) -> Work:
    return Work.model_validate(state)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield World()


__all__ = ["ANN", "BOB", "BUCKET", "OTHER", "World", "dynamo"]
