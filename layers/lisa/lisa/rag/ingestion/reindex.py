"""A collection is indexed anew, with another embedding model or chunking, and searched all the while.

Its next generation is filled beside the one that serves: with all documents there are, and by the ingestion of what
changes meanwhile. Once every document is in it the collection is flipped to it, and the old one is dropped.
"""

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lisa import dynamo
from lisa.errors import Conflict, InvalidRequest
from lisa.rag.documents.queue import Request, WorkQueue
from lisa.rag.documents.store import Count, Kept
from lisa.rag.documents.stores import Stores
from lisa.rag.ingestion.generations import Reindex, ReindexStore
from lisa.rag.records import Chunking, Collection, CollectionStatus, Job, JobStatus, JobType
from lisa.rag.repositories.store import RepositoryStore

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_stepfunctions import SFNClient

Outcome = dict[str, Any]
_PAGE = 200
# Looks without a step forward, after which documents are asked for again, and then given up.
ASK_AGAIN_AFTER, GIVE_UP_AFTER = 12, 120
_TRIES = 5


class Reindexing:
    """The steps of the workflow, and how it is begun. `clock` is in seconds; `machine` the workflow's ARN."""

    def __init__(
        self,
        client: "DynamoDBClient",
        repositories: RepositoryStore,
        stores: Stores,
        reindexes: ReindexStore,
        queue: WorkQueue,
        *,
        machine: str = "",
        executions: "SFNClient | None" = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._repositories = repositories
        self._stores = stores
        self._reindexes = reindexes
        self._queue = queue
        self._machine = machine
        self._executions = executions
        self._clock = clock

    def begin(
        self, collection: Collection, user: str, *, embedding_model: str, dimensions: int, chunking: Chunking
    ) -> Job:
        """Starts the workflow. Raises Conflict while one runs, InvalidRequest when nothing would be different."""
        if collection.next_generation or collection.status is not CollectionStatus.ACTIVE:
            raise Conflict(f"The collection {collection.name} is being changed: wait until that has ended.")
        same = (collection.embedding_model, collection.chunking) == (embedding_model, chunking)
        if same:
            raise InvalidRequest("The collection is indexed so already.", field="chunkingStrategy")
        before = self._reindexes.get(collection.repository_id, collection.id)
        # A number is used once: what was begun for one that was given up must not end in the next.
        generation = max(collection.generation, before.generation if before else 0) + 1
        now = self._now()
        job = Job(
            id=str(uuid.uuid4()),
            type=JobType.REINDEX,
            status=JobStatus.INGESTION_IN_PROGRESS,
            repository_id=collection.repository_id,
            collection_id=collection.id,
            source="",
            document_id="",
            owner=user,
            created_at=now,
            updated_at=now,
            chunking=chunking,
            embedding_model=embedding_model,
        )
        self._reindexes.put(
            Reindex(
                collection.repository_id,
                collection.id,
                generation,
                embedding_model,
                dimensions,
                chunking,
                job.id,
            )
        )
        self._stores.jobs.put([job])
        wanted = replace(collection, next_generation=generation, version=collection.version + 1)
        if not self._repositories.change(collection, wanted):
            self._stores.jobs.settle(job, JobStatus.INGESTION_FAILED, "The collection was changed.", now=now)
            raise Conflict(
                f"The collection {collection.name} has just been changed: look at it, and try again."
            )
        if self._executions is not None:
            state = {"repositoryId": collection.repository_id, "collectionId": collection.id}
            self._executions.start_execution(
                stateMachineArn=self._machine,
                name=job.id,
                input=json.dumps({**state, "generation": generation, "old": collection.generation}),
            )
        return job

    # The steps; each may run twice

    def feed(self, repository_id: str, collection_id: str, generation: int, after: str | None) -> Outcome:
        """Asks for a page of the documents that are not in the generation yet."""
        page, last = self._stores.documents.of_collection(
            repository_id, collection_id, limit=_PAGE, after=after
        )
        lacking = [kept.document.id for kept in page if generation not in kept.generations]
        self._queue.ask([Request(document_id=each, generation=generation) for each in lacking])
        return {"outcome": "more" if last else "fed", "after": last}

    def look(self, repository_id: str, collection_id: str, generation: int, seen: Outcome) -> Outcome:
        """Whether all documents are in the generation. `seen` is what was seen the last time."""
        reindex = self._reindexes.get(repository_id, collection_id)
        if reindex is not None and reindex.generation == generation and reindex.refused:
            reason = f"{reindex.refused} document(s) cannot be indexed so; the last: {reindex.reason}"
            return {"outcome": "refused", "reason": reason}
        kept, _ = self._stores.documents.of_collection(repository_id, collection_id)
        lacking = sum(1 for each in kept if generation not in each.generations)
        if reindex is not None:
            self._stores.jobs.progress(
                reindex.job_id, done=len(kept) - lacking, total=len(kept), now=self._now()
            )
        if not lacking:
            return {"outcome": "whole"}
        still = int(seen.get("still", 0)) + 1 if lacking == seen.get("lacking") else 0
        if still >= GIVE_UP_AFTER:
            return {"outcome": "refused", "reason": f"{lacking} document(s) did not get into the new index."}
        again = bool(still) and still % ASK_AGAIN_AFTER == 0
        return {"outcome": "again" if again else "waiting", "lacking": lacking, "still": still, "after": None}

    def flip(self, repository_id: str, collection_id: str, generation: int) -> Outcome:
        """From now on searches look into the new generation."""
        reindex = self._reindexes.get(repository_id, collection_id)
        for _ in range(_TRIES):
            collection = self._repositories.collection(repository_id, collection_id)
            if collection is None or reindex is None:
                return {"outcome": "refused", "reason": "The collection was deleted meanwhile."}
            if collection.generation == generation:
                return {"outcome": "flipped", "after": None}
            if collection.next_generation != generation or reindex.generation != generation:
                return {"outcome": "refused", "reason": "Another change took its place."}
            flipped = replace(
                collection,
                generation=generation,
                next_generation=0,
                embedding_model=reindex.embedding_model,
                dimensions=reindex.dimensions,
                chunking=reindex.chunking,
                version=collection.version + 1,
            )
            if self._repositories.change(collection, flipped):
                return {"outcome": "flipped", "after": None}
        raise Conflict("The collection is being changed all the time.")

    def settle(self, repository_id: str, collection_id: str, generation: int, after: str | None) -> Outcome:
        """Writes of a page of documents what they are now; asks for those that came when it was flipped."""
        page, last = self._stores.documents.of_collection(
            repository_id, collection_id, limit=_PAGE, after=after
        )
        reindex = self._reindexes.get(repository_id, collection_id)
        late = [kept.document.id for kept in page if generation not in kept.generations]
        self._queue.ask([Request(document_id=each, generation=generation) for each in late])
        for kept in page:
            if generation in kept.generations and len(kept.generations) > 1:
                self._settle(kept, generation, reindex)
        return {"outcome": "more" if last else "fed", "after": last}

    def finish(self, repository_id: str, collection_id: str, generation: int) -> Outcome:
        self._end(repository_id, collection_id, generation, JobStatus.INGESTION_COMPLETED, "")
        return {"outcome": "finished"}

    def abandon(self, repository_id: str, collection_id: str, generation: int, reason: str) -> Outcome:
        """The old generation goes on serving; the new one is to be dropped."""
        for _ in range(_TRIES):
            collection = self._repositories.collection(repository_id, collection_id)
            if collection is None or collection.next_generation != generation:
                break
            if self._repositories.change(
                collection, replace(collection, next_generation=0, version=collection.version + 1)
            ):
                break
        self._end(repository_id, collection_id, generation, JobStatus.INGESTION_FAILED, reason)
        return {"outcome": "abandoned"}

    def _settle(self, kept: Kept, generation: int, reindex: Reindex | None) -> None:
        chunks = kept.generations[generation]
        document = replace(
            kept.document, chunks=chunks, chunking=reindex.chunking if reindex else kept.document.chunking
        )
        change = Count(chunks=chunks - kept.document.chunks)
        writes = [self._stores.documents.putting(Kept(document, {generation: chunks}), kept)]
        if change != Count():
            where = (document.repository_id, document.collection_id)
            writes.append(self._stores.documents.counting(*where, change))
        dynamo.transact(self._client, writes)  # where it has changed meanwhile, its own commit says it all

    def _end(
        self, repository_id: str, collection_id: str, generation: int, status: JobStatus, reason: str
    ) -> None:
        reindex = self._reindexes.get(repository_id, collection_id)
        job = self._stores.jobs.get(reindex.job_id) if reindex and reindex.generation == generation else None
        if job is not None:
            self._stores.jobs.settle(job, status, reason, now=self._now())

    def _now(self) -> int:
        return int(self._clock() * 1000)
