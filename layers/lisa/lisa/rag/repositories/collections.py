"""What people may do with collections. Writes only say what is wanted; the table's stream starts the work."""

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lisa.errors import Conflict, Forbidden, InvalidRequest
from lisa.identity.principal import Principal
from lisa.rag.access import may_change_collection, may_create_collection
from lisa.rag.documents.stores import Stores
from lisa.rag.ingestion.reindex import Reindexing
from lisa.rag.records import (
    Chunking,
    Collection,
    CollectionStatus,
    Job,
    JobStatus,
    Repository,
    RepositoryStatus,
)
from lisa.rag.repositories.definitions import chunking_of, collection_answer, custom_fields_of
from lisa.rag.repositories.deletion import deletion_job
from lisa.rag.repositories.embedding_models import EmbeddingModels
from lisa.rag.repositories.listing import listed
from lisa.rag.repositories.lookup import Lookup
from lisa.rag.repositories.schema import (
    CollectionAnswer,
    CollectionDeletion,
    CollectionQuery,
    CollectionsAnswer,
    CreateCollection,
    DeletionSummary,
    ReindexCollection,
    UpdateCollection,
)
from lisa.rag.repositories.store import RepositoryStore

_STATUSES = {"ACTIVE": CollectionStatus.ACTIVE, "ARCHIVED": CollectionStatus.ARCHIVED}
_DELETING = frozenset({CollectionStatus.DELETE_IN_PROGRESS, CollectionStatus.DELETE_FAILED})


class CollectionService:
    """`documents_bucket` is the drop folder: documents from elsewhere are not LISA's to delete."""

    def __init__(
        self,
        store: RepositoryStore,
        models: EmbeddingModels,
        documents: Stores,
        documents_bucket: str,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._lookup = Lookup(store)
        self._models = models
        self._documents = documents
        self._documents_bucket = documents_bucket
        self._clock = clock

    def create(
        self, principal: Principal, repository_id: str, request: CreateCollection, *, owned: bool = False
    ) -> CollectionAnswer:
        """Stores the wish for a collection, which takes documents at once. A user's own carries its `owner`.

        So does one that is to be `owned`, whoever makes it.

        Raises NotFound, Forbidden, InvalidRequest naming the field, Conflict when the name is taken.
        """
        repository = self._lookup.repository(principal, repository_id)
        if not may_create_collection(principal, repository):
            raise Forbidden(
                f"In the repository {repository.id} administrators of retrieval alone make collections."
            )
        if repository.status is RepositoryStatus.DELETE_IN_PROGRESS:
            raise Conflict(f"The repository {repository.id} is being deleted.")
        model = request.embedding_model or repository.embedding_model_id
        if not model:
            raise InvalidRequest(
                f"The repository {repository.id} has no embedding model of its own: name one.",
                field="embeddingModel",
            )
        self._own_word(repository, request.name)
        dimensions = self._models.dimensions(
            principal, model, repository.type, field="embeddingModel", expected=request.dimensions
        )
        now = int(self._clock() * 1000)
        administers = principal.is_admin or principal.is_rag_admin
        collection = Collection(
            id=str(uuid.uuid4()),
            repository_id=repository.id,
            name=request.name,
            embedding_model=model,
            dimensions=dimensions,
            chunking=chunking_of(request.chunking_strategy) if request.chunking_strategy else Chunking(),
            allow_chunking_override=request.allow_chunking_override,
            description=request.description or "",
            allowed_groups=_groups(principal, repository, request.allowed_groups or []),
            owner=principal.user if owned or not administers else "",
            tags=tuple(request.metadata.tags) if request.metadata else (),
            custom_fields=custom_fields_of(request.metadata),
            created_by=principal.user,
            created_at=now,
            updated_at=now,
            version=now,
        )
        self._store.create_collection(collection)
        return collection_answer(repository, collection)

    def get(self, principal: Principal, repository_id: str, name: str) -> CollectionAnswer:
        """By id, name or embedding model. Raises NotFound also for what the caller may not see."""
        repository, found = self._lookup.collection(principal, repository_id, name)
        count = self._documents.documents.count(repository.id, found.id)
        return collection_answer(repository, found).model_copy(
            update={
                "document_count": count.documents,
                "chunk_count": count.chunks,
                "size_bytes": count.bytes,
            }
        )

    def visible(
        self, principal: Principal, query: CollectionQuery, *, repository_id: str | None = None
    ) -> CollectionsAnswer:
        """The collections of one repository, or of all, that the caller sees.

        Raises NotFound for a repository that the caller may not see, InvalidRequest naming what the query has wrong.
        """
        if repository_id is None:
            repositories = self._lookup.repositories(principal)
        else:
            repositories = [self._lookup.repository(principal, repository_id)]
        found = [
            (repository, collection)
            for repository in repositories
            for collection in self._lookup.collections(principal, repository)
        ]
        answer = listed(found, query)
        if repository_id is None and answer.last_evaluated_key:
            # Upstream's page key of this list is a text, that of the other one an object.
            return answer.model_copy(update={"last_evaluated_key": json.dumps(answer.last_evaluated_key)})
        return answer

    def update(
        self, principal: Principal, repository_id: str, name: str, request: UpdateCollection
    ) -> CollectionAnswer:
        """Changes what the request names.

        Raises NotFound, Forbidden, InvalidRequest naming the field, Conflict when the name is taken or the
        collection is being deleted.
        """
        repository, old = self._changeable(principal, repository_id, name)
        if old.status in _DELETING:
            raise Conflict(f"The collection {old.name!r} is being deleted.")
        if request.embedding_model not in (None, old.embedding_model):
            raise InvalidRequest(
                f"The embedding model of a collection never changes; this one's is {old.embedding_model!r}.",
                field="embeddingModel",
            )
        changes: dict[str, Any] = {}
        if request.name is not None and request.name != old.name:
            if old.is_default:
                raise InvalidRequest("The default collection keeps its name.", field="name")
            self._own_word(repository, request.name)
            changes["name"] = request.name
        if request.description is not None:
            changes["description"] = request.description
        if request.chunking_strategy is not None:
            changes["chunking"] = chunking_of(request.chunking_strategy)
        if request.allow_chunking_override is not None:
            changes["allow_chunking_override"] = request.allow_chunking_override
        if request.allowed_groups is not None:
            changes["allowed_groups"] = _groups(principal, repository, request.allowed_groups)
        if request.metadata is not None:
            changes["tags"] = tuple(request.metadata.tags)
            changes["custom_fields"] = custom_fields_of(request.metadata)
        if request.status is not None and request.status.upper() != old.status:
            changes["status"] = _status(request.status, old)
        new = replace(old, **changes, updated_at=int(self._clock() * 1000), version=old.version + 1)
        if not self._store.change(old, new):
            raise _changed(old)
        return collection_answer(repository, new)

    def delete(self, principal: Principal, repository_id: str, name: str) -> CollectionDeletion:
        """Wishes a collection away with its documents; of the default one only the documents go.

        Asking again changes nothing. Raises NotFound, Forbidden, Conflict when the row changes under our hands.
        """
        repository, old = self._changeable(principal, repository_id, name)
        going = old
        if old.status is not CollectionStatus.DELETE_IN_PROGRESS:
            going = replace(
                old,
                status=CollectionStatus.DELETE_IN_PROGRESS,
                reason="",
                updated_at=int(self._clock() * 1000),
                version=old.version + 1,
            )
            # The job is there before its workflow can be.
            self._documents.jobs.put([deletion_job(going, principal.user)])
            if not self._store.change(old, going):
                raise _changed(old)
        return CollectionDeletion(
            job_id=deletion_job(going, principal.user).id,
            deletion_type="partial" if going.is_default else "full",
            status=str(JobStatus.DELETE_PENDING),
            summary=self._summary(repository, going),
        )

    def reindex(
        self,
        principal: Principal,
        repository_id: str,
        name: str,
        request: ReindexCollection,
        reindexing: Reindexing,
    ) -> Job:
        """Has a collection cut and embedded anew, while the old index serves; the job says how far it is.

        Raises NotFound, Forbidden, InvalidRequest naming the field or when nothing would be different, Conflict while
        the collection is being changed.
        """
        repository, found = self._changeable(principal, repository_id, name)
        model = request.embedding_model or found.embedding_model
        return reindexing.begin(
            found,
            principal.user,
            embedding_model=model,
            dimensions=self._models.dimensions(principal, model, repository.type, field="embeddingModel"),
            chunking=chunking_of(request.chunking_strategy) if request.chunking_strategy else found.chunking,
        )

    def _summary(self, repository: Repository, collection: Collection) -> DeletionSummary:
        """How many of its documents lie in the drop folder, and how many in buckets of others."""
        total = self._documents.documents.count(repository.id, collection.id).documents
        elsewhere = 0
        if any(pipeline.collection_id == collection.id for pipeline in repository.pipelines):
            kept, _ = self._documents.documents.of_collection(repository.id, collection.id)
            ours = f"s3://{self._documents_bucket}/"
            elsewhere = sum(not each.document.source.startswith(ours) for each in kept)
        return DeletionSummary(
            lisa_managed_documents=max(0, total - elsewhere),
            user_managed_documents=elsewhere,
            action="Documents are removed from the collection; files in the drop folder are deleted, files in other "
            "buckets stay.",
        )

    def _changeable(
        self, principal: Principal, repository_id: str, name: str
    ) -> tuple[Repository, Collection]:
        repository, collection = self._lookup.collection(principal, repository_id, name)
        if not may_change_collection(principal, repository, collection):
            raise Forbidden(
                f"The collection {collection.name!r} is changed by its owner and by administrators of retrieval."
            )
        return repository, collection

    @staticmethod
    def _own_word(repository: Repository, name: str) -> None:
        """The model's name stands for the default collection wherever a collection is named."""
        if name == repository.embedding_model_id:
            raise InvalidRequest(
                f"{name!r} stands for the repository's default collection: choose another name.", field="name"
            )


def _groups(principal: Principal, repository: Repository, wanted: list[str]) -> tuple[str, ...]:
    groups = tuple(dict.fromkeys(wanted))
    if repository.allowed_groups:
        outside = [group for group in groups if group not in repository.allowed_groups]
        if outside:
            raise InvalidRequest(
                f"The repository is not for {', '.join(outside)}: a collection's groups are among the repository's "
                f"({', '.join(repository.allowed_groups)}).",
                field="allowedGroups",
            )
    return groups


def _status(wanted: str, old: Collection) -> CollectionStatus:
    status = _STATUSES.get(wanted.upper())
    if status is None:
        raise InvalidRequest("status can be set to ACTIVE or ARCHIVED.", field="status")
    if old.status not in _STATUSES.values():
        raise Conflict(f"The collection is {old.status}: its status can be set once it is ACTIVE.")
    return status


def _changed(collection: Collection) -> Conflict:
    return Conflict(
        f"The collection {collection.name!r} has just been changed by another request: look, and try again."
    )
