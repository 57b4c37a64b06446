"""The steps of the workflows. Each is one state of a state machine, may run twice, and ends with an outcome.

What is wrong is an outcome with a reason, and so is a store that is away for longer than it may be; only what may
pass by itself in a moment is raised, so that the state machine tries the step again.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, Protocol

from lisa.errors import LisaError, Unavailable
from lisa.observability import logger, traced
from lisa.rag.access import visibility
from lisa.rag.documents.jobs import JobStore
from lisa.rag.records import Collection, CollectionStatus, JobStatus, Repository, RepositoryStatus
from lisa.rag.repositories.deletion import deletion_job
from lisa.rag.repositories.executions import Wish
from lisa.rag.repositories.store import RepositoryStore
from lisa.rag.vectors.base import Index, VectorStore

Outcome = dict[str, Any]
SUPERSEDED: Outcome = {"outcome": "superseded"}
# A store that sleeps or restarts is there again by then: 2 + 4 + 8 + 16 + 30 + 30 + 30 seconds.
STORE_TRIES = 8
LONGEST_WAIT = 30
OpenStore = Callable[[Repository], VectorStore]


class ConnectStore:
    """Reaches the repository's store, and tells it who may see the repository's collections."""

    def __init__(self, store: RepositoryStore, open_store: OpenStore) -> None:
        self._store = store
        self._open_store = open_store

    def __call__(self, wish: Wish, tries: int) -> Outcome:
        repository = current_repository(self._store, wish)
        if repository is None:
            return SUPERSEDED
        return patiently(tries, lambda: self._connect(repository))

    def _connect(self, repository: Repository) -> Outcome:
        vectors = self._open_store(repository)
        # Removing what is not there is the cheapest call that needs a store in working order.
        vectors.drop(Index(repository.id, "_connection", 1, 1))
        for collection in self._store.collections(repository.id):
            if collection.status in (CollectionStatus.ACTIVE, CollectionStatus.ARCHIVED):
                vectors.create(indices(collection)[0], visibility(repository, collection))
        return {"outcome": "connected"}


class Schedules(Protocol):
    """What has the folders of pipelines looked through (lisa.rag.ingestion.schedules)."""

    def apply(self, repository: Repository) -> None: ...

    def remove(self, repository_id: str) -> None: ...


class ApplyPipelines:
    """Makes the schedules of a repository's pipelines, and has each folder looked through once; or removes them."""

    def __init__(self, store: RepositoryStore, schedules: Schedules) -> None:
        self._store = store
        self._schedules = schedules

    def __call__(self, wish: Wish, desired: Literal["present", "absent"]) -> Outcome:
        repository = current_repository(self._store, wish)
        if repository is None:
            return SUPERSEDED
        if desired == "absent":
            self._schedules.remove(repository.id)
            return {"outcome": "gone"}
        self._schedules.apply(repository)
        return {"outcome": "applied"}


class IndexCollection:
    """Makes a collection's index and tells it who may see it, or removes all of the collection's indices."""

    def __init__(self, store: RepositoryStore, open_store: OpenStore) -> None:
        self._store = store
        self._open_store = open_store

    def __call__(self, wish: Wish, desired: Literal["present", "absent"], tries: int) -> Outcome:
        collection = current_collection(self._store, wish)
        repository = self._store.repository(wish.repository_id)
        if collection is None or repository is None:
            return SUPERSEDED
        return patiently(tries, lambda: self._index(repository, collection, desired))

    def _index(self, repository: Repository, collection: Collection, desired: str) -> Outcome:
        vectors = self._open_store(repository)
        now, *being_filled = indices(collection)
        if desired == "present":
            # Who fills another one makes it; when it takes this one's place, its row changes and we come here again.
            vectors.create(now, visibility(repository, collection))
            return {"outcome": "indexed"}
        for index in (now, *being_filled):
            vectors.drop(index)
        return {"outcome": "gone"}


class EmptyRepository:
    """Wishes all collections of a repository away, then forgets its jobs, and says when nothing is left.

    `forget_jobs` forgets some of a repository's jobs, and says whether that was all: another repository may get the
    same id, and is not to show them.
    """

    def __init__(
        self,
        store: RepositoryStore,
        forget_jobs: Callable[[str], bool],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._forget_jobs = forget_jobs
        self._clock = clock

    def __call__(self, wish: Wish, asked: int) -> Outcome:
        """`asked` is how often this workflow has asked: a deletion that failed before is asked for once again."""
        if current_repository(self._store, wish) is None:
            return SUPERSEDED
        left = self._store.collections(wish.repository_id)
        for collection in left:
            if collection.status is CollectionStatus.DELETE_IN_PROGRESS:
                continue
            if collection.status is CollectionStatus.DELETE_FAILED and asked:
                reason = f"Its collection {collection.name!r} could not be removed: {collection.reason}"
                return {"outcome": "failed", "reason": reason}
            self._store.change(
                collection,
                replace(
                    collection,
                    status=CollectionStatus.DELETE_IN_PROGRESS,
                    reason="",
                    updated_at=int(self._clock() * 1000),
                    version=collection.version + 1,
                ),
            )
        return {
            "outcome": "empty" if not left and self._forget_jobs(wish.repository_id) else "pending",
            "asked": asked + 1,
            "wait": 1 if not left or asked < 30 else 10,
        }


class RecordStatus:
    """Writes where the workflow has ended into the row; the table's stream tells the bus."""

    def __init__(
        self, store: RepositoryStore, jobs: JobStore, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._jobs = jobs
        self._clock = clock

    def __call__(self, wish: Wish, status: str, reason: str = "") -> Outcome:
        """`status` is one of the record's, or DELETED."""
        now = int(self._clock() * 1000)
        done: bool
        if not wish.collection_id:
            repository = current_repository(self._store, wish)
            if repository is None:
                return SUPERSEDED
            if status == "DELETED":
                done = self._store.forget(repository)
            else:
                done = self._store.set_status(repository, RepositoryStatus(status), reason, now=now)
        else:
            collection = current_collection(self._store, wish)
            if collection is None:
                return SUPERSEDED
            if collection.status is CollectionStatus.DELETE_IN_PROGRESS:
                self._settle_job(collection, status, reason, now)
            if status == "DELETED":
                done = self._forget(collection, now)
            else:
                done = self._store.set_status(collection, _status(collection, status), reason, now=now)
        return {"outcome": "recorded"} if done else SUPERSEDED

    def _settle_job(self, collection: Collection, status: str, reason: str, now: int) -> None:
        """The job that a person's wish has made; the deletion of a repository makes none for each collection."""
        job = self._jobs.get(deletion_job(collection, "").id)
        if job is not None:
            end = JobStatus.DELETE_COMPLETED if status == "DELETED" else JobStatus.DELETE_FAILED
            self._jobs.settle(job, end, reason, now=now)

    def _forget(self, collection: Collection, now: int) -> bool:
        """The default collection of a repository that stays begins anew, empty, with its next index."""
        repository = self._store.repository(collection.repository_id)
        going = repository is None or repository.status is RepositoryStatus.DELETE_IN_PROGRESS
        if going or not collection.is_default:
            return self._store.forget(collection)
        return self._store.change(
            collection,
            replace(
                collection,
                status=CollectionStatus.CREATE_IN_PROGRESS,
                generation=max(collection.generation, collection.next_generation) + 1,
                next_generation=0,
                updated_at=now,
                version=collection.version + 1,
            ),
        )


def _status(collection: Collection, found: str) -> CollectionStatus:
    """What has been changed of a collection that is there, well or not, leaves its status as it was."""
    if collection.status in (CollectionStatus.ACTIVE, CollectionStatus.ARCHIVED):
        return collection.status
    return CollectionStatus(found)


def indices(collection: Collection) -> list[Index]:
    """Where a collection lies now, and after that where it will when it is indexed anew."""
    generations = [collection.generation]
    if collection.next_generation:
        generations.append(collection.next_generation)
    return [
        Index(collection.repository_id, collection.id, generation, collection.dimensions)
        for generation in generations
    ]


def patiently(tries: int, work: Callable[[], Outcome]) -> Outcome:
    """Does what needs a store. `tries` is how often this workflow has tried before; it waits longer each time."""
    try:
        return work()
    except Unavailable as error:
        if tries + 1 < STORE_TRIES:
            return {"outcome": "pending", "tries": tries + 1, "wait": min(2 ** (tries + 1), LONGEST_WAIT)}
        return {"outcome": "failed", "reason": error.message}
    except LisaError as error:
        return {"outcome": "failed", "reason": error.message}


def current_repository(store: RepositoryStore, wish: Wish) -> Repository | None:
    """The row, as long as the wish is the newest, and this the newest attempt at it."""
    row = store.row("REPOSITORY", wish.repository_id)
    if row is None or (row.record.version, row.attempt) != (wish.version, wish.attempt):
        return None
    return row.record if isinstance(row.record, Repository) else None


def current_collection(store: RepositoryStore, wish: Wish) -> Collection | None:
    row = store.row(f"COLLECTION#{wish.repository_id}", wish.collection_id)
    if row is None or (row.record.version, row.attempt) != (wish.version, wish.attempt):
        return None
    return row.record if isinstance(row.record, Collection) else None


def step(work: Callable[[Wish, dict[str, Any]], Outcome]) -> Callable[[dict[str, Any], Any], Outcome]:
    """A Lambda handler that does one state's work and logs one line with its outcome."""

    @traced
    def handler(event: dict[str, Any], context: Any) -> Outcome:
        wish = Wish.of(event)
        outcome = work(wish, event)
        logger.info("step", extra={**wish.input(), "outcome": outcome["outcome"]})
        return outcome

    return handler
