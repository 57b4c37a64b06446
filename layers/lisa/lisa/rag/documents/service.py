"""What people do with documents: upload, list, download, delete them, and look at the jobs on them.

Every verb speaks for a caller; what they may not see does not exist for them. The work itself is done by workflows
(`lisa.rag.documents.ingest`), which the queue and the bucket's events start.
"""

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lisa import dynamo
from lisa.errors import Conflict, Forbidden, InvalidRequest, NotFound
from lisa.identity.principal import Principal
from lisa.paging import check_size, key_of, next_token
from lisa.rag.access import may_change_document, may_feed, sees_collection
from lisa.rag.documents import jobs as job_rules
from lisa.rag.documents import naming
from lisa.rag.documents.objects import Change, Kind, ObjectState, Wishes
from lisa.rag.documents.queue import Request, WorkQueue
from lisa.rag.documents.store import Count, Kept
from lisa.rag.documents.stores import Stores
from lisa.rag.documents.uploads import Form, Uploads
from lisa.rag.records import (
    Attribute,
    Chunking,
    Collection,
    CollectionStatus,
    Document,
    IngestionType,
    Job,
    JobStatus,
    JobType,
    Repository,
)
from lisa.rag.repositories.lookup import Lookup

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

MAX_FILES = 100
HOUR = 3_600_000
# One that is being created takes them, and ingests them when it is there.
TAKES_DOCUMENTS = {CollectionStatus.ACTIVE, CollectionStatus.CREATE_IN_PROGRESS}
_TRIES = 4


@dataclass(frozen=True, slots=True)
class Upload:
    """An uploaded file by its key. `path` is where it is dropped below its owner's folder; without it, its name."""

    key: str
    path: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of documents; `total` is how many there are in all of the collections that were asked for."""

    documents: list[Document]
    next_token: str | None
    total: int


class DocumentService:
    """`client` is a low-level DynamoDB client of the table that the stores lie in; `clock` is in seconds."""

    def __init__(
        self,
        client: "DynamoDBClient",
        lookup: Lookup,
        stores: Stores,
        uploads: Uploads,
        queue: WorkQueue,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._lookup = lookup
        self._documents, self._jobs, self._objects = stores.documents, stores.jobs, stores.objects
        self._uploads = uploads
        self._queue = queue
        self._clock = clock

    # Looking

    def documents(
        self,
        principal: Principal,
        repository_id: str,
        collection: str | None = None,
        *,
        page_size: int | None = None,
        token: str | None = None,
    ) -> Listing:
        """The documents of one collection, or of all that the caller sees, oldest first within a collection."""
        check_size(page_size)
        asked = self._collections(principal, repository_id, collection)
        total = sum(self._documents.count(repository_id, each.id).documents for each in asked)
        at, _, after = (key_of(token) or "").partition("~")
        ids = [each.id for each in asked]
        begin = ids.index(at) if at in ids else 0
        found: list[Document] = []
        for position in range(begin, len(ids)):
            limit = None if page_size is None else page_size - len(found)
            kept, last = self._documents.of_collection(
                repository_id,
                ids[position],
                limit=limit,
                after=(after or None) if position == begin else None,
            )
            found += [each.document for each in kept]
            if last is not None:
                return Listing(found, next_token(f"{ids[position]}~{last}"), total)
            if page_size is not None and len(found) >= page_size and position + 1 < len(ids):
                return Listing(found, next_token(f"{ids[position + 1]}~"), total)
        return Listing(found, None, total)

    def get(self, principal: Principal, repository_id: str, document_id: str) -> Document:
        """Raises NotFound also for a document that the caller may not see."""
        document = self._documents.get(document_id)
        if document is not None and document.repository_id == repository_id:
            try:
                self._lookup.collection(principal, repository_id, document.collection_id)
            except NotFound:
                pass
            else:
                return document
        else:
            self._lookup.repository(principal, repository_id)
        raise NotFound(
            f"The repository {repository_id} has no document {document_id[:80]!r}.", code="document_not_found"
        )

    def count(self, repository_id: str, collection_id: str) -> Count:
        return self._documents.count(repository_id, collection_id)

    def in_progress(self, repository_id: str, collection_id: str) -> int:
        """How many objects of a collection are on their way, in or out."""
        here = (repository_id, collection_id)
        begun = self._objects.open_since(self._now() + 1)
        return sum(1 for state in begun if (state.repository_id, state.collection_id) == here)

    def fields(self, repository_id: str, collection_id: str) -> Mapping[str, set[str]]:
        """Attributes seen in a collection with the types of their values: `text`, `number`, `boolean`."""
        return self._documents.fields(repository_id, collection_id)

    def link(self, principal: Principal, repository_id: str, document_id: str) -> str:
        """A URL to download the document's file, good for five minutes."""
        document = self.get(principal, repository_id, document_id)
        bucket, key = naming.split_source(document.source)
        return self._uploads.link(bucket, key, document.name)

    def jobs(
        self,
        principal: Principal,
        repository_id: str,
        *,
        hours: int = 720,
        page_size: int | None = None,
        token: str | None = None,
    ) -> tuple[list[Job], str | None]:
        """Newest first; those of everybody for administrators of all kinds, else the caller's own."""
        check_size(page_size)
        if hours < 1:
            raise InvalidRequest("timeLimit must be 1 hour or more.", field="timeLimit")
        self._lookup.repository(principal, repository_id)
        everybody = principal.is_admin or principal.is_rag_admin
        found, last = self._jobs.of_repository(
            repository_id,
            owner=None if everybody else principal.user,
            since=max(0, self._now() - hours * HOUR),
            limit=page_size,
            after=key_of(token),
        )
        return found, next_token(last)

    def unplaced(self, *, hours: int = 720) -> list[Job]:
        """Files that were dropped where there is no repository or collection. For administrators alone."""
        return self._jobs.unplaced(since=max(0, self._now() - hours * HOUR))

    # Changing

    def form(self, principal: Principal, name: str) -> Form:
        """Where to post a file of this name. Raises InvalidRequest for a name that no file may have."""
        return self._uploads.form(principal.user, name)

    def ingest(
        self,
        principal: Principal,
        repository_id: str,
        collection: str,
        uploads: Sequence[Upload],
        *,
        chunking: Chunking | None = None,
        tags: Sequence[str] = (),
        attributes: Mapping[str, Attribute] | None = None,
    ) -> tuple[Collection, list[Job]]:
        """Drops the caller's uploads into a collection's folder, from where they are ingested.

        The jobs' sources are the documents' to come. `chunking` counts where the collection allows it. Raises NotFound
        for what the caller has not uploaded, before anything is copied.
        """
        if not 1 <= len(uploads) <= MAX_FILES:
            raise InvalidRequest(f"keys must hold 1 to {MAX_FILES} uploaded files.", field="keys")
        repository, found = self._lookup.collection(principal, repository_id, collection)
        if not may_feed(principal, repository, found):
            raise Forbidden(f"You may not add documents to the collection {found.name}.")
        if found.status not in TAKES_DOCUMENTS:
            raise Conflict(f"The collection {found.name} is {found.status} and takes no documents.")
        for upload in uploads:
            self._uploads.check(principal.user, upload.key)
        wishes = Wishes(
            owner=principal.user,
            chunking=chunking if found.allow_chunking_override else None,
            tags=tuple(tags),
            attributes=dict(attributes or {}),
        )
        return found, [self._drop(repository, found, upload, wishes) for upload in uploads]

    def delete(
        self,
        principal: Principal,
        repository_id: str,
        document_ids: Sequence[str] = (),
        *,
        collection: str | None = None,
        name: str | None = None,
    ) -> list[Job]:
        """Removes documents by their ids, or all of a collection with this name that the caller may delete.

        Raises NotFound for an id that the caller does not see and for a name that no document has, Forbidden for a
        document that belongs to somebody else; nothing is removed then.
        """
        documents = [self._find(principal, repository_id, each) for each in dict.fromkeys(document_ids)]
        if collection is not None:
            _, within = self._lookup.collection(principal, repository_id, collection)
            documents += self._named(repository_id, within, name) if name else []
            for document in documents:
                if document.collection_id != within.id:
                    raise NotFound(
                        f"The collection {within.name} has no document {document.id}.",
                        code="document_not_found",
                    )
        if not documents:
            raise NotFound(f"There is no document named {name!r}." if name else "There is no such document.")
        for document in documents:
            self._check_change(principal, document)
        return [self._remove(document, principal.user) for document in documents]

    def set_attributes(
        self, principal: Principal, repository_id: str, document_id: str, attributes: Mapping[str, Attribute]
    ) -> None:
        """Changes what a document can be filtered by, without embedding it again; seen by searches soon.

        Raises NotFound and Forbidden as `delete` does, Conflict when the document is being changed.
        """
        self._check_change(principal, self._find(principal, repository_id, document_id))
        state = self._objects.get(document_id)
        kept = self._documents.kept([document_id]).get(document_id)
        writes = (
            [self._objects.wishing(state, replace(state.wishes, attributes=dict(attributes)))]
            if state
            else []
        )
        if kept is not None:
            changed = replace(kept.document, attributes=dict(attributes))
            writes.append(self._documents.putting(Kept(changed, kept.generations), kept))
        if not dynamo.transact(self._client, writes):
            raise Conflict("The document is being changed: try again in a moment.")
        if kept is not None:
            self._documents.note_fields(repository_id, kept.document.collection_id, attributes)
            self._ask(document_id, retag=True)

    def redrive(self, principal: Principal, repository_id: str, job_id: str) -> Job:
        """Tries a failed job again. Raises Conflict when it has not failed, or a newer version made it pointless."""
        job = self._jobs.get(job_id)
        if job is None or job.repository_id != repository_id or not self._may_redrive(principal, job):
            raise NotFound(
                f"The repository {repository_id} has no job {job_id[:80]!r}.", code="job_not_found"
            )
        if job.status not in job_rules.FAILED or job.type not in (JobType.INGESTION, JobType.DELETION):
            raise Conflict(
                f"The job is {job.status}: what can be tried again are documents' jobs that failed."
            )
        state = self._objects.get(job.document_id)
        if state is None or job.id not in (state.job_id, state.expected):
            raise Conflict("The file has changed since; its newest version has a job of its own.")
        again = replace(
            job, status=job_rules.pending(job.type), reason="", updated_at=self._now(), attempts=0
        )
        # Of an upload whose event never came no version is known: any that comes will be later.
        new = (
            {}
            if state.sequencer
            else {"sequencer": naming.following(naming.sequencer("0")), "job_id": job.id}
        )
        writes = [
            self._objects.open_again(state, now=self._now(), **new),
            self._jobs.putting(again, unplaced=self._is_unplaced(job)),
        ]
        if not dynamo.transact(self._client, writes):
            raise Conflict("The file has changed since; its newest version has a job of its own.")
        self._ask(job.document_id, removal=job.type is JobType.DELETION)
        return again

    def _drop(self, repository: Repository, collection: Collection, upload: Upload, wishes: Wishes) -> Job:
        name = naming.name_of(upload.path or upload.key)
        target = naming.drop_key(repository.id, collection.id, wishes.owner, upload.path or name)
        bucket, now = self._uploads.bucket, self._now()
        document_id = naming.document_id(bucket, target)
        job = Job(
            id=str(uuid.uuid4()),
            type=JobType.INGESTION,
            status=JobStatus.INGESTION_PENDING,
            repository_id=repository.id,
            collection_id=collection.id,
            source=naming.source(bucket, target),
            document_id=document_id,
            owner=wishes.owner,
            created_at=now,
            updated_at=now,
            ingestion_type=IngestionType.MANUAL,
            chunking=wishes.chunking or collection.chunking,
            embedding_model=collection.embedding_model,
        )
        change = Change(document_id, repository.id, collection.id, bucket, target, "", Kind.CREATED)
        # The job is there before its event can be.
        announced = [
            self._objects.expect(change, job.id, replace(wishes, name=name), now=now),
            self._jobs.putting(job),
        ]
        dynamo.transact(self._client, announced)
        self._uploads.copy(upload.key, target)
        return job

    def _remove(self, document: Document, user: str) -> Job:
        for _ in range(_TRIES):
            now = self._now()
            state = self._objects.get(document.id)
            if state is None or (state.done and state.kind is Kind.REMOVED):
                break
            job = Job(
                id=str(uuid.uuid4()),
                type=JobType.DELETION,
                status=JobStatus.DELETE_PENDING,
                repository_id=document.repository_id,
                collection_id=document.collection_id,
                source=document.source,
                document_id=document.id,
                owner=user,
                created_at=now,
                updated_at=now,
            )
            removal = {
                "kind": str(Kind.REMOVED),
                "sequencer": naming.following(state.sequencer or naming.sequencer("0")),
                "job_id": job.id,
            }
            if dynamo.transact(
                self._client,
                [self._objects.open_again(state, now=now, **removal), self._jobs.putting(job)],
            ):
                self._ask(document.id, removal=True)
                return job
        raise Conflict(f"The document {document.name} is being changed: try again in a moment.")

    def _ask(self, document_id: str, *, retag: bool = False, removal: bool = False) -> None:
        """A person waits for whatever is asked for here."""
        self._queue.ask([Request(document_id=document_id, retag=retag, removal=removal, interactive=True)])

    def _find(self, principal: Principal, repository_id: str, document_id: str) -> Document:
        """A document, or what is known of one that is on its way or has failed. Raises NotFound as `get` does."""
        try:
            return self.get(principal, repository_id, document_id)
        except NotFound:
            state = self._objects.get(document_id)
            if state is None or state.repository_id != repository_id or state.kind is Kind.REMOVED:
                raise
            self._lookup.collection(principal, repository_id, state.collection_id)
            return _on_its_way(state)

    def _collections(
        self, principal: Principal, repository_id: str, collection: str | None
    ) -> Sequence[Collection]:
        if collection:
            return [self._lookup.collection(principal, repository_id, collection)[1]]
        return self._lookup.collections(principal, self._lookup.repository(principal, repository_id))

    def _named(self, repository_id: str, collection: Collection, name: str) -> Sequence[Document]:
        kept, _ = self._documents.of_collection(repository_id, collection.id)
        return [each.document for each in kept if each.document.name == name]

    def _check_change(self, principal: Principal, document: Document) -> None:
        repository, collection = self._lookup.collection(
            principal, document.repository_id, document.collection_id
        )
        if not may_change_document(principal, repository, collection, document.owner):
            raise Forbidden(
                f"The document {document.name} is not yours: its owner, the collection's owner and administrators may "
                "delete it."
            )

    def _may_redrive(self, principal: Principal, job: Job) -> bool:
        if principal.is_admin or principal.user == job.owner:
            return True
        try:
            repository, collection = self._lookup.collection(principal, job.repository_id, job.collection_id)
        except NotFound:
            return False
        return principal.is_rag_admin and sees_collection(principal, repository, collection)

    def _is_unplaced(self, job: Job) -> bool:
        return any(each.id == job.id for each in self._jobs.unplaced(since=job.created_at))

    def _now(self) -> int:
        return int(self._clock() * 1000)


def _on_its_way(state: ObjectState) -> Document:
    return Document(
        id=state.document_id,
        repository_id=state.repository_id,
        collection_id=state.collection_id,
        name=state.wishes.name or naming.name_of(state.key),
        source=naming.source(state.bucket, state.key),
        owner=state.wishes.owner,
        chunking=Chunking(),
        ingestion_type=IngestionType.MANUAL,
        uploaded_at=state.since,
        chunks=0,
        bytes=state.size,
        sequencer=state.sequencer,
        content_hash="",
        media_type="",
    )
