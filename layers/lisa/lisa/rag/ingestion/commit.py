"""Last step: what became of documents is written, whole and once, and told. Nothing that was begun stays open.

A version is committed in one transaction: the document's row, what its collection counts, the job's end, and that its
object is settled, all as long as it is the newest. What may pass by itself goes back into the queue.
"""

import functools
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lisa import dynamo
from lisa.rag.documents import jobs as job_rules
from lisa.rag.documents import rows
from lisa.rag.documents.objects import ObjectState
from lisa.rag.documents.queue import Request, WorkQueue
from lisa.rag.documents.store import Count, Kept
from lisa.rag.documents.stores import Stores
from lisa.rag.documents.uploads import Uploads
from lisa.rag.ingestion.documents import Known, document_of
from lisa.rag.ingestion.generations import ReindexStore
from lisa.rag.ingestion.items import Action, Item, Outcome, Work
from lisa.rag.ingestion.places import Places
from lisa.rag.ingestion.telling import Telling
from lisa.rag.records import Collection, Document, Job
from lisa.rag.repositories.store import RepositoryStore

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

MAX_ATTEMPTS = 14
LONGEST_DELAY = 60
_TRIES = 5
_NEWER = "A newer version took its place."
_WORST = (
    Outcome.LONG,
    Outcome.FORCE,
    Outcome.RETRY,
    Outcome.FAILED,
    Outcome.OPEN,
    Outcome.STORED,
    Outcome.UNCHANGED,
    Outcome.SUPERSEDED,
)


@dataclass(frozen=True, slots=True)
class _Version:
    """A version of a document, with its items: one for each generation that it goes into."""

    items: tuple[Item, ...]

    @property
    def first(self) -> Item:
        return self.items[0]

    @property
    def worst(self) -> Item:
        return min(self.items, key=lambda item: _WORST.index(item.outcome))


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a version's commit writes, how it changes what is counted, and what is told of it.

    With `again` nothing has ended: it goes back into the queue.
    """

    writes: tuple[Any, ...]
    count: Count
    job: Job | None = None
    document: Document | None = None
    again: bool = False


class CommitDocuments:
    """`clock` is in seconds."""

    def __init__(
        self,
        client: "DynamoDBClient",
        repositories: RepositoryStore,
        stores: Stores,
        reindexes: ReindexStore,
        uploads: Uploads,
        queue: WorkQueue,
        telling: Telling,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._repositories = repositories
        self._stores = stores
        self._reindexes = reindexes
        self._uploads = uploads
        self._queue = queue
        self._telling = telling
        self._clock = clock

    def __call__(self, work: Work, error: str = "") -> list[str]:
        """Settles what the execution has worked on; returns the ids of requests that need a long execution.

        `error` says that a step kept failing: what it left open is tried again.
        """
        items = [self._after_error(item, error) for item in work.items]
        versions = _versions(items)
        long = sorted({each.request for each in items if each.outcome is Outcome.LONG})
        settled = [each for each in versions if each.worst.outcome is not Outcome.LONG]
        for item in items:
            if item.delete_object and item.outcome is Outcome.STORED:
                self._uploads.delete_version(item.key, item.etag)
        for start in range(0, len(settled), 10):
            self._commit(settled[start : start + 10], work.long)
        return long

    def _after_error(self, item: Item, error: str) -> Item:
        if item.outcome in (Outcome.OPEN, Outcome.UNCHANGED) and item.generation:
            reason = error or "A step of the ingestion was left out."
            return item.became(Outcome.RETRY, reason, code="server_error")
        return item

    def _commit(self, versions: Sequence[_Version], long: bool) -> None:
        """All at once; if something has changed meanwhile, each by itself with what is known then."""
        told: list[_Plan] = []
        if not self._try(versions, told):
            for version in versions:
                if not any(self._try([version], told) for _ in range(_TRIES)):
                    # Somebody else writes the same all the time: later, then.
                    self._ask_again(version.first, delay=random.randint(1, 5))  # noqa: S311
        self._telling(told_of(told), now=self._now(), long=long)

    def _try(self, versions: Sequence[_Version], told: list[_Plan]) -> bool:
        items = [item for version in versions for item in version.items]
        known = Known.read(self._stores, items)
        jobs = self._stores.jobs.several(item.job_id for item in items if item.job_id)
        places = Places(self._repositories, self._uploads.bucket)
        plans = [self._plan(version, known, jobs, places) for version in versions]
        counts: dict[tuple[str, str], Count] = {}
        for version, plan in zip(versions, plans, strict=True):
            if plan.count != Count():
                where = (version.first.repository_id, version.first.collection_id)
                counts[where] = counts.get(where, Count()) + plan.count
        writes = [write for plan in plans for write in plan.writes]
        writes += [self._stores.documents.counting(*where, count) for where, count in counts.items()]
        if writes and not dynamo.transact(self._client, writes):
            return False
        told += plans
        self._after(versions, plans)
        return True

    def _plan(self, version: _Version, known: Known, jobs: Mapping[str, Job], places: Places) -> _Plan:
        item = version.first
        kept, state = known.kept.get(item.document_id), known.states.get(item.document_id)
        if item.action in (Action.FEED, Action.RETAG):
            return self._plan_more(version, kept)
        job = jobs.get(item.job_id)
        if state is None or state.sequencer != item.sequencer or state.done:
            if state is not None and state.sequencer == item.sequencer:
                return _Plan((), Count(), job)  # settled before: it is told again, which may have failed
            ended = self._end_job(job, reason=_NEWER)
            return _Plan(self._job_write(ended), Count(), ended)
        worst = version.worst
        if worst.outcome in (Outcome.RETRY, Outcome.FORCE) and state.attempts < MAX_ATTEMPTS:
            return _Plan(self._job_write(_waiting(job, worst, self._now())), Count(), again=True)
        if worst.outcome in (Outcome.RETRY, Outcome.FORCE, Outcome.FAILED):
            return self._plan_failure(worst, state, job)
        if item.action is Action.REMOVE:
            return self._plan_removal(version, state, kept, job)
        return self._plan_document(version, state, kept, job, document_of(item, known, places))

    def _plan_document(
        self,
        version: _Version,
        state: ObjectState,
        kept: Kept | None,
        job: Job | None,
        document: Document | None,
    ) -> _Plan:
        item = version.first
        stored = [each for each in version.items if each.outcome in (Outcome.STORED, Outcome.UNCHANGED)]
        if document is None or len(stored) != len(version.items):
            # The store has a newer one: its own commit is on its way.
            ended = self._end_job(job, reason=_NEWER)
            close = self._stores.objects.close(item.document_id, item.sequencer, failed=state.failed)
            return _Plan((close, *self._job_write(ended)), Count(), ended)
        generations = {each.generation: each.chunks for each in stored}
        new = Kept(document, generations)
        before = Count(1, kept.document.chunks, kept.document.bytes) if kept else Count()
        change = Count(
            1 - before.documents,
            document.chunks - before.chunks,
            document.bytes - before.bytes,
            -int(state.failed),
        )
        ended = self._end_job(job, chunks=document.chunks)
        writes = (
            self._stores.documents.putting(new, kept),
            self._stores.objects.close(item.document_id, item.sequencer),
            *self._job_write(ended),
        )
        return _Plan(writes, change, ended, document)

    def _plan_removal(
        self, version: _Version, state: ObjectState, kept: Kept | None, job: Job | None
    ) -> _Plan:
        item = version.first
        ended = self._end_job(job)
        if item.outcome is Outcome.UNCHANGED:  # the file is gone, and its document is to stay
            close = self._stores.objects.close(item.document_id, item.sequencer, failed=state.failed)
            return _Plan((close, *self._job_write(ended)), Count())
        gone = int(self._clock()) + rows.TOMBSTONE_SECONDS
        writes = [
            self._stores.objects.close(item.document_id, item.sequencer, forget_at=gone),
            *self._job_write(ended),
        ]
        change = Count(failed=-int(state.failed))
        if kept is not None:
            writes.append(self._stores.documents.deleting(kept))
            change += Count(-1, -kept.document.chunks, -kept.document.bytes)
        return _Plan(tuple(writes), change, ended)

    def _plan_failure(self, item: Item, state: ObjectState, job: Job | None) -> _Plan:
        reason = item.reason
        if item.outcome is not Outcome.FAILED:
            reason = f"{reason} It was tried {state.attempts} times: try it again later."
        ended = _ended(job, failed=True, reason=reason, code=item.code, now=self._now())
        if item.nowhere:
            close = self._stores.objects.close(item.document_id, item.sequencer)
            return _Plan((close, *self._job_write(ended, unplaced=True)), Count(), ended)
        close = self._stores.objects.close(item.document_id, item.sequencer, failed=True)
        # An object is one failure, however often it fails.
        return _Plan((close, *self._job_write(ended)), Count(failed=1 - int(state.failed)), ended)

    def _plan_more(self, version: _Version, kept: Kept | None) -> _Plan:
        """A document that has come into one more generation, or whose attributes have changed."""
        item = version.worst
        if item.action is Action.RETAG or kept is None or kept.document.sequencer != item.sequencer:
            return _Plan((), Count())
        if item.outcome in (Outcome.STORED, Outcome.UNCHANGED):
            new = replace(kept, generations={**kept.generations, item.generation: item.chunks})
            return _Plan((self._stores.documents.putting(new, kept),), Count())
        if item.outcome is Outcome.FAILED:
            reason = f"{kept.document.name}: {item.reason}"
            self._reindexes.refuse(item.repository_id, item.collection_id, item.generation, reason)
        return _Plan((), Count())

    def _after(self, versions: Sequence[_Version], plans: Sequence[_Plan]) -> None:
        """What a transaction cannot hold. It is done again when the step is, and harms nobody."""
        requests: list[tuple[Request, int]] = []
        collection = functools.cache(self._repositories.collection)  # read after the commit, once
        for version, plan in zip(versions, plans, strict=True):
            item = version.worst
            if item.action is Action.RETAG and item.outcome is Outcome.RETRY:
                requests.append((_once_more(item, retag=True), LONGEST_DELAY))
            if plan.again:
                force = item.outcome is Outcome.FORCE
                delay = 0 if force else delay_after(self._attempts(item))
                requests.append((_once_more(item, force=force), delay))
            if plan.document is not None:
                self._stores.documents.note_fields(
                    item.repository_id, item.collection_id, plan.document.attributes
                )
                requests += [
                    (each, 0)
                    for each in _missing(version, collection(item.repository_id, item.collection_id))
                ]
        for request, delay in requests:
            self._queue.ask([request], delay=delay)

    def _attempts(self, item: Item) -> int:
        state = self._stores.objects.get(item.document_id)
        return state.attempts if state else 1

    def _ask_again(self, item: Item, *, delay: int) -> None:
        generation = item.generation if item.action is Action.FEED else 0
        self._queue.ask([_once_more(item, generation=generation)], delay=delay)

    def _end_job(self, job: Job | None, *, reason: str = "", chunks: int = 0) -> Job | None:
        ended = _ended(job, failed=False, reason=reason, code="", now=self._now())
        return replace(ended, chunks_total=chunks, chunks_done=chunks) if ended and chunks else ended

    def _job_write(self, job: Job | None, *, unplaced: bool = False) -> tuple[Any, ...]:
        return (self._stores.jobs.putting(job, unplaced=unplaced),) if job else ()

    def _now(self) -> int:
        return int(self._clock() * 1000)


def _once_more(item: Item, **wanted: Any) -> Request:
    """Whoever waited for the item waits for its next try, too."""
    removal = item.action is Action.REMOVE
    return Request(document_id=item.document_id, removal=removal, interactive=item.interactive, **wanted)


def _missing(version: _Version, collection: Collection | None) -> list[Request]:
    """Generations that the collection has got while this version was on its way."""
    if collection is None:
        return []
    there = {each.generation for each in version.items}
    wanted = {collection.generation, collection.next_generation} - {0} - there
    return [Request(document_id=version.first.document_id, generation=each) for each in sorted(wanted)]


def delay_after(attempts: int) -> int:
    """Seconds until the next try; twice as long each time, and a little apart from others'."""
    longest = min(LONGEST_DELAY, 1 << max(1, min(attempts, 10)))
    return max(1, longest // 2 + random.randint(0, longest // 2))  # noqa: S311


def told_of(plans: Iterable[_Plan]) -> list[tuple[Job, Document | None]]:
    return [(plan.job, plan.document) for plan in plans if plan.job is not None]


def _versions(items: Iterable[Item]) -> list[_Version]:
    found: dict[tuple[str, str, Action, int], list[Item]] = {}
    for item in items:
        # A version that is ingested is one, whatever the number of generations; feeding is apart for each.
        apart = item.generation if item.action in (Action.FEED, Action.RETAG) else 0
        found.setdefault((item.document_id, item.sequencer, item.action, apart), []).append(item)
    return [_Version(tuple(each)) for each in found.values()]


def _waiting(job: Job | None, item: Item, now: int) -> Job | None:
    if job is None:
        return None
    return replace(
        job, status=job_rules.pending(job.type), reason=f"{item.reason} It is tried again.", code=item.code,
        updated_at=now,
    )  # fmt: skip


def _ended(job: Job | None, *, failed: bool, reason: str, code: str, now: int) -> Job | None:
    if job is None:
        return None
    status = job_rules.failed(job.type) if failed else job_rules.completed(job.type)
    return replace(job, status=status, reason=reason, code=code, updated_at=now)
