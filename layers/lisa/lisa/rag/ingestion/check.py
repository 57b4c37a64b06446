"""First step: what a request asks for, whether that is still to be done, and what it needs.

Takes versions of objects, so that older ones that come late change nothing; writes that their jobs are at work.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from lisa.rag.documents import jobs as job_rules
from lisa.rag.documents import naming
from lisa.rag.documents.objects import Change, Kind, ObjectState
from lisa.rag.documents.queue import Request
from lisa.rag.documents.store import Kept
from lisa.rag.documents.stores import Stores
from lisa.rag.ingestion.generations import Generation, ReindexStore
from lisa.rag.ingestion.items import Action, AskedFor, Item, Outcome, Work
from lisa.rag.ingestion.places import Destination, Nowhere, Places
from lisa.rag.records import Collection, CollectionStatus, IngestionType, Job, JobStatus, JobType
from lisa.rag.repositories.store import RepositoryStore

# Milliseconds that a long execution may take.
LONG_GRACE = 3_600_000


class CheckDocuments:
    """`is_there` says whether a bucket has a key; `max_bytes` is the largest file that is ingested; `auto_remove`
    whether documents go with their files of the drop folder; `clock` is in seconds."""

    def __init__(
        self,
        repositories: RepositoryStore,
        stores: Stores,
        reindexes: ReindexStore,
        *,
        drop_bucket: str,
        is_there: Callable[[str, str], bool],
        max_bytes: int,
        auto_remove: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._repositories = repositories
        self._stores = stores
        self._reindexes = reindexes
        self._drop_bucket = drop_bucket
        self._is_there = is_there
        self._max_bytes = max_bytes
        self._auto_remove = auto_remove
        self._clock = clock

    def __call__(self, work: Work) -> Work:
        places = Places(self._repositories, self._drop_bucket)
        states: dict[str, ObjectState] = {}
        items: list[Item] = []
        # While a long execution runs, nobody takes what it works on for lost.
        since = self._now() + (LONG_GRACE if work.long else 0)
        for asked in work.requests:
            if asked.document_id:
                items += self._asked_by_id(asked, places, states, since)
            else:
                items += self._found(asked, places, states, since)
        items = _newest_only(items)
        self._begin_jobs(items, states)
        return work.with_items(items)

    # Versions of objects that appeared or went

    def _found(
        self, asked: AskedFor, places: Places, states: dict[str, ObjectState], since: int
    ) -> list[Item]:
        items: list[Item] = []
        if asked.removal and self._is_there(asked.bucket, asked.key):
            # An old version was cleared away, which S3 says in the same words; or the file is back, which it says too.
            return []
        for place in places.of(asked):
            if isinstance(place, Nowhere) and asked.removal:
                continue  # nothing of it was ever searched
            taken = self._stores.objects.take(_change(asked, place), now=since)
            state = taken.state
            if state is not None and taken.again:
                state = self._stores.objects.try_again(state, now=since)
            if state is not None:
                states[state.document_id] = state
                items += self._items(asked, state, place)
        return items

    def _items(self, asked: AskedFor, state: ObjectState, place: Destination | Nowhere) -> list[Item]:
        base = Item.of(state, request=asked.id).model_copy(
            update={
                "at": self._now(),
                "force": asked.force,
                "existing": asked.existing,
                "interactive": asked.interactive,
            }
        )
        if isinstance(place, Nowhere):
            return [base.became(Outcome.FAILED, place.reason, code="unplaced", nowhere=True)]
        base = base.model_copy(
            update={"repository_id": place.repository.id, "collection_id": place.collection.id}
        )
        generations = self._reindexes.generations(place.collection)
        if base.action is Action.REMOVE:
            return self._removal(base, place, generations)
        refusal = self._refusal(base, place.collection)
        if refusal is not None:
            return [refusal]
        chunking = state.wishes.chunking or (place.pipeline.chunking if place.pipeline else None)
        return [
            _into(base, each).model_copy(update={"chunking": chunking or each.chunking})
            for each in generations
        ]

    def _removal(self, base: Item, place: Destination, generations: Sequence[Generation]) -> list[Item]:
        by_people = "." in base.sequencer  # S3's own never have one
        wanted = place.pipeline.auto_remove if place.pipeline else self._auto_remove
        if not (by_people or wanted):
            # The document stays, and so does its old version's place in the order of events.
            return [base.became(Outcome.UNCHANGED)]
        dropped = not base.pipeline and base.bucket == self._drop_bucket
        return [
            _into(base, each).model_copy(update={"delete_object": by_people and dropped})
            for each in generations
        ]

    def _refusal(self, base: Item, collection: Collection) -> Item | None:
        if collection.status is CollectionStatus.CREATE_IN_PROGRESS:
            return base.became(Outcome.RETRY, f"The collection {collection.name} is being created.")
        if collection.status is not CollectionStatus.ACTIVE:
            return base.became(
                Outcome.FAILED,
                f"The collection {collection.name} is {collection.status} and takes no documents.",
            )
        if base.size > self._max_bytes:
            return base.became(
                Outcome.FAILED,
                f"The file has {base.size:,} bytes; {self._max_bytes:,} are taken at most. Split it into smaller ones.",
            )
        return None

    # What we asked for ourselves

    def _asked_by_id(
        self, asked: AskedFor, places: Places, states: dict[str, ObjectState], since: int
    ) -> list[Item]:
        state = self._stores.objects.get(asked.document_id)
        if state is None:
            return []
        if asked.generation or asked.retag:
            kept = self._stores.documents.kept([asked.document_id]).get(asked.document_id)
            if kept is None or not (state.done or kept.document.sequencer == state.sequencer):
                return []  # gone, or a newer version is on its way and takes care of it
            return self._again(asked, state, kept, places)
        if state.done:
            return []
        tried = self._stores.objects.try_again(state, now=since)
        if tried is None:
            return []
        states[tried.document_id] = tried
        found = places.of(Request(bucket=tried.bucket, key=tried.key, pipeline=tried.pipeline))
        for place in found:
            name = place.pipeline if isinstance(place, Nowhere) else place.pipeline_name
            if name == tried.pipeline:
                return self._items(asked, tried, place)
        gone = Nowhere(
            "The pipeline that this file came by is gone.", tried.repository_id, tried.collection_id
        )
        return self._items(asked, tried, gone)

    def _again(self, asked: AskedFor, state: ObjectState, kept: Kept, places: Places) -> list[Item]:
        document = kept.document
        collection = places.collection(document.repository_id, document.collection_id)
        if collection is None:
            return []
        base = Item(
            request=asked.id,
            action=Action.RETAG if asked.retag else Action.FEED,
            document_id=document.id,
            repository_id=document.repository_id,
            collection_id=document.collection_id,
            sequencer=document.sequencer,
            job_id="",
            bucket=state.bucket,
            key=state.key,
            pipeline=state.pipeline,
            etag=state.etag,
            size=document.bytes,
            at=document.uploaded_at,
            interactive=asked.interactive,
        )
        generations = self._reindexes.generations(collection)
        if asked.retag:
            wanted = [each for each in generations if each.number in kept.generations]
            return [_into(base, each) for each in wanted]
        return [
            _into(base, each).model_copy(update={"chunking": state.wishes.chunking or each.chunking})
            for each in generations
            if each.number == asked.generation
        ]

    # Jobs

    def _begin_jobs(self, items: Sequence[Item], states: dict[str, ObjectState]) -> None:
        """Writes the jobs of what is begun; what fails or rests already is written by the last step."""
        begun = {item.job_id: item for item in items if item.job_id}
        if not begun:
            return
        known = self._stores.jobs.several(begun)
        removals = {i.document_id for i in begun.values() if i.action is Action.REMOVE}
        there = self._stores.documents.kept(removals) if removals else {}
        placed: list[Job] = []
        unplaced: list[Job] = []
        for job_id, item in begun.items():
            state = states[item.document_id]
            job = known.get(job_id)
            if job is None:
                if item.action is Action.REMOVE and item.document_id not in there:
                    continue  # it was never searched: there is nothing to tell
                job = _new_job(item, state, self._now())
            status = job_rules.running(job.type)
            changed = replace(
                job, status=status, attempts=state.attempts, updated_at=self._now(), chunking=item.chunking,
                embedding_model=item.model, collection_id=item.collection_id,
            )  # fmt: skip
            (unplaced if item.nowhere else placed).append(changed)
        self._stores.jobs.put(placed)
        self._stores.jobs.put(unplaced, unplaced=True)

    def _now(self) -> int:
        return int(self._clock() * 1000)


def _change(asked: Request, place: Destination | Nowhere) -> Change:
    if isinstance(place, Nowhere):
        repository_id, collection_id, pipeline = place.repository_id, place.collection_id, place.pipeline
    else:
        repository_id, collection_id = place.repository.id, place.collection.id
        pipeline = place.pipeline_name
    return Change(
        document_id=naming.document_id(asked.bucket, asked.key, pipeline),
        repository_id=repository_id,
        collection_id=collection_id,
        bucket=asked.bucket,
        key=asked.key,
        sequencer=asked.sequencer,
        kind=Kind.REMOVED if asked.removal else Kind.CREATED,
        etag=asked.etag,
        size=asked.size,
        pipeline=pipeline,
    )


def _into(item: Item, generation: Generation) -> Item:
    return item.model_copy(
        update={
            "generation": generation.number,
            "dimensions": generation.dimensions,
            "model": generation.embedding_model,
        }
    )


def _newest_only(items: Iterable[Item]) -> list[Item]:
    """Of several versions of a document in one batch only the newest is worked on, and that once."""
    newest: dict[str, str] = {}
    ordered = list(items)
    for item in ordered:
        newest[item.document_id] = max(newest.get(item.document_id, ""), item.sequencer)
    found: dict[tuple[str, str, Action, int], Item] = {}
    for item in ordered:
        older = item.sequencer < newest[item.document_id]
        found.setdefault(
            (item.document_id, item.sequencer, item.action, item.generation),
            item.became(Outcome.SUPERSEDED) if older else item,
        )
    return list(found.values())


def _new_job(item: Item, state: ObjectState, now: int) -> Job:
    kind = JobType.DELETION if item.action is Action.REMOVE else JobType.INGESTION
    return Job(
        id=item.job_id,
        type=kind,
        status=JobStatus.INGESTION_PENDING,
        repository_id=item.repository_id,
        collection_id=item.collection_id,
        source=naming.source(item.bucket, item.key),
        document_id=item.document_id,
        owner=state.wishes.owner,
        created_at=now,
        updated_at=now,
        ingestion_type=IngestionType.EXISTING if item.existing else IngestionType.AUTO,
    )
