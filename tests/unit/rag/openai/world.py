"""Files and vector stores over tables and a bucket in moto, with the pipeline's part played by hand."""

import itertools
import json
import threading
from dataclasses import replace
from typing import Any

import boto3
from lisa import dynamo
from lisa.errors import NotFound
from lisa.identity.principal import Principal
from lisa.rag.answering import answered
from lisa.rag.documents import naming
from lisa.rag.documents.objects import Change, Kind
from lisa.rag.documents.queue import WorkQueue
from lisa.rag.documents.service import DocumentService
from lisa.rag.documents.store import Count, Kept
from lisa.rag.documents.stores import Stores
from lisa.rag.documents.uploads import Uploads
from lisa.rag.openai.interface import Call, interface_of
from lisa.rag.records import Document, IngestionType, JobStatus
from lisa.rag.repositories.collections import CollectionService
from lisa.rag.repositories.lookup import Lookup
from lisa.rag.repositories.store import RepositoryStore
from lisa.rag.wire import principal_of

from tests.unit.rag.people import collection, repository
from tests.unit.tables import create_table

TABLE, REPOSITORIES, BUCKET = "documents", "repositories", "drop"
MEBIBYTE = 1 << 20


class Clock:
    """Every look at it is a millisecond later; in seconds."""

    def __init__(self) -> None:
        self._ticks = itertools.count(1_700_000_000_000)

    def __call__(self) -> float:
        return next(self._ticks) / 1000


class Models:
    """Embedding models: `mini` for everybody."""

    def dimensions(
        self, principal: Principal, model_id: str, store: Any, *, field: str, expected: Any = None
    ) -> int:
        if model_id != "mini":
            raise NotFound(f"There is no model {model_id!r}.", code="model_not_found", field=field)
        return 384


class World:
    """Also an Invoker, as the gateway wants one: it is both functions."""

    def __init__(self) -> None:
        client: Any = boto3.client("dynamodb")
        self.dynamodb = client
        self.s3: Any = boto3.client("s3")
        self.s3.create_bucket(Bucket=BUCKET)
        create_table(client, TABLE, indexes={"by-place": ("place", "at"), "by-owner": ("ownedBy", "at")})
        create_table(client, REPOSITORIES)
        self.sqs: Any = boto3.client("sqs")
        self.queue_url = self.sqs.create_queue(QueueName="work")["QueueUrl"]
        self.clock = Clock()
        self.repositories = RepositoryStore(REPOSITORIES, client)
        self.repositories.create_repository(repository("default"))
        self.repositories.create_collection(
            collection("mini", repository_id="default", is_default=True, created_at=1)
        )
        self.stores = Stores.of(TABLE, client)
        self.uploads = Uploads(BUCKET, self.s3, max_bytes=MEBIBYTE)
        self.collections = CollectionService(
            self.repositories,
            Models(),  # type: ignore[arg-type]
            self.stores,
            BUCKET,
            clock=self.clock,
        )
        lookup = Lookup(self.repositories)
        self.documents = DocumentService(
            client, lookup, self.stores, self.uploads, WorkQueue(self.queue_url, self.sqs), clock=self.clock
        )
        self.interface = interface_of(
            TABLE,
            client,
            lookup=lookup,
            collections=self.collections,
            documents=self.documents,
            stores=self.stores,
            uploads=self.uploads,
        )
        self._versions = itertools.count(1)
        # moto's tables are not made for two threads.
        self._lock = threading.RLock()
        self.failing: dict[str, str] = {}

    # --- As the gateway calls it

    def invoke(self, function: str, event: bytes) -> bytes:
        with self._lock:
            return self._answer(function, event)

    def _answer(self, function: str, event: bytes) -> bytes:
        call = json.loads(event)
        principal = principal_of(call["principal"])
        if function == "search":
            return json.dumps(answered(lambda: (200, self._search(principal, call)))).encode()
        wanted = Call(principal, *(call[name] for name in ("method", "route", "path", "query", "body")))
        return json.dumps(answered(lambda: (200, self.interface.answer(wanted)))).encode()

    def _search(self, principal: Principal, call: Any) -> Any:
        """Finds all documents of the collection, whatever is asked."""
        _, found = Lookup(self.repositories).collection(principal, call["repositoryId"], call["collectionId"])
        kept, _ = self.stores.documents.of_collection(call["repositoryId"], found.id)
        documents = [each.document for each in kept]
        if call.get("operation") == "chunks":
            (document,) = (each for each in documents if each.id == call["documentId"])
            text = self.bytes_of(document.source).decode()
            return {
                "chunks": [
                    {"ordinal": 0, "text": text, "start": 0, "end": len(text), "page": None, "heading": []}
                ]
            }
        return {
            "hits": [
                {
                    "documentId": each.id,
                    "documentName": each.name,
                    "source": each.source,
                    "owner": each.owner,
                    "text": self.bytes_of(each.source).decode(),
                    "score": 0.5,
                    "attributes": dict(each.attributes),
                    "page": None,
                    "heading": [],
                }
                for each in documents
            ][: call["topK"]]
        }

    def bytes_of(self, source: str) -> bytes:
        bucket, key = naming.split_source(source)
        body: bytes = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    # --- The pipeline's part

    def work(self) -> None:
        """Ingests what was dropped since, fails what is called as in `failing`, removes what is to go."""
        with self._lock:
            self._work()

    def _work(self) -> None:
        for item in self.s3.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
            if not item["Key"].startswith("_"):
                self._appeared(item["Key"], item["Size"], item["ETag"])
        for collection_ in self.repositories.collections("default"):
            states, _ = self.stores.objects.of_collection("default", collection_.id)
            for state in states:
                if state.kind is Kind.REMOVED:
                    self._removed(state.document_id)

    def drop(self, key: str, body: bytes) -> None:
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=body)

    def _appeared(self, key: str, size: int, etag: str) -> None:
        place = naming.place_of(key)
        assert place is not None
        document_id = naming.document_id(BUCKET, key)
        known = self.stores.objects.get(document_id)
        if known is not None and known.sequencer and not known.expected:
            return
        change = Change(
            document_id, place.repository_id, place.collection, BUCKET, key,
            naming.sequencer(f"{next(self._versions):016X}"), Kind.CREATED, etag, size,
        )  # fmt: skip
        state = self.stores.objects.take(change, now=int(self.clock() * 1000)).state
        assert state is not None
        job = self.stores.jobs.get(state.job_id)
        name = state.wishes.name or naming.name_of(key)
        reason = self.failing.get(name)
        now = int(self.clock() * 1000)
        if job is not None:
            status = JobStatus.INGESTION_FAILED if reason else JobStatus.INGESTION_COMPLETED
            self.stores.jobs.settle(job, status, reason or "", now=now)
        close = self.stores.objects.close(document_id, state.sequencer, failed=bool(reason))
        here = place.repository_id, place.collection
        if reason:
            dynamo.transact(self.dynamodb, [close, self.stores.documents.counting(*here, Count(failed=1))])
            return
        chosen = self.repositories.collection(*here)
        assert chosen is not None
        document = Document(
            id=document_id, repository_id=here[0], collection_id=here[1], name=name,
            source=naming.source(BUCKET, key), owner=state.wishes.owner,
            chunking=state.wishes.chunking or chosen.chunking, ingestion_type=IngestionType.MANUAL, uploaded_at=now,
            chunks=1, bytes=size, sequencer=state.sequencer, content_hash=etag, media_type="text/plain",
            attributes=state.wishes.attributes,
        )  # fmt: skip
        old = self.stores.documents.kept([document_id]).get(document_id)
        put = self.stores.documents.putting(Kept(document, {1: 1}), old)
        counted = Count(documents=0 if old else 1, chunks=0 if old else 1, bytes=size)
        assert dynamo.transact(self.dynamodb, [put, close, self.stores.documents.counting(*here, counted)])

    def _removed(self, document_id: str) -> None:
        state = self.stores.objects.get(document_id)
        assert state is not None
        writes = [self.stores.objects.close(document_id, state.sequencer, forget_at=2_000_000_000)]
        here = state.repository_id, state.collection_id
        old = self.stores.documents.kept([document_id]).get(document_id)
        if old is not None:
            gone = Count(documents=-1, chunks=-1, bytes=-old.document.bytes)
            writes += [self.stores.documents.deleting(old), self.stores.documents.counting(*here, gone)]
        elif state.failed:
            writes.append(self.stores.documents.counting(*here, Count(failed=-1)))
        self.s3.delete_object(Bucket=BUCKET, Key=state.key)
        assert dynamo.transact(self.dynamodb, writes)

    def activate(self) -> None:
        """What collections' workflow does once their index is there."""
        from lisa.rag.records import CollectionStatus

        for each in self.repositories.collections("default"):
            if each.status is CollectionStatus.CREATE_IN_PROGRESS:
                self.repositories.change(
                    each, replace(each, status=CollectionStatus.ACTIVE, version=each.version + 1)
                )
