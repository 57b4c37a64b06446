"""What people may do with repositories. Writes only say what is wanted; the table's stream starts the work."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lisa.errors import Conflict, Forbidden, InvalidRequest, NotFound
from lisa.identity.principal import Principal
from lisa.rag.records import Collection, Pipeline, Repository, RepositoryStatus, StoreType
from lisa.rag.repositories.definitions import (
    connection_of,
    custom_fields_of,
    pipelines_of,
    repository_answer,
)
from lisa.rag.repositories.embedding_models import EmbeddingModels
from lisa.rag.repositories.lookup import Lookup, resolve
from lisa.rag.repositories.schema import (
    CreateRepository,
    PipelineDefinition,
    RepositoryAnswer,
    RepositoryDeletion,
    UpdateRepository,
)
from lisa.rag.repositories.store import RepositoryStore

BUSY = frozenset(
    {
        RepositoryStatus.CREATE_IN_PROGRESS,
        RepositoryStatus.UPDATE_IN_PROGRESS,
        RepositoryStatus.DELETE_IN_PROGRESS,
    }
)
DEFAULT_COLLECTION_NAME = "default"


class RepositoryService:
    """`documents_bucket` is the drop folder, which needs no pipeline."""

    def __init__(
        self,
        store: RepositoryStore,
        models: EmbeddingModels,
        documents_bucket: str,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._lookup = Lookup(store)
        self._models = models
        self._documents_bucket = documents_bucket
        self._clock = clock

    def visible(self, principal: Principal) -> list[RepositoryAnswer]:
        """Those that the caller sees, by id."""
        return [repository_answer(found) for found in self._lookup.repositories(principal)]

    def get(self, principal: Principal, repository_id: str) -> RepositoryAnswer:
        """Raises NotFound also for one that the caller may not see."""
        return repository_answer(self._lookup.repository(principal, repository_id))

    def statuses(self) -> dict[str, str]:
        return {found.id: str(found.status) for found in self._store.repositories()}

    def create(self, principal: Principal, request: CreateRepository) -> RepositoryAnswer:
        """Stores the wish for a repository, with a default collection where it names an embedding model.

        Raises InvalidRequest naming the field, Conflict when the id is taken.
        """
        _no_knowledge_base(request.type)
        now = int(self._clock() * 1000)
        repository = Repository(
            id=request.repository_id,
            type=StoreType(request.type),
            name=request.repository_name or request.repository_id,
            description=request.description or "",
            embedding_model_id=request.embedding_model_id or "",
            allowed_groups=tuple(request.allowed_groups or ()),
            allow_user_collections=request.allow_user_collections is not False,
            connection=connection_of(request),
            tags=tuple(request.metadata.tags) if request.metadata else (),
            custom_fields=custom_fields_of(request.metadata),
            created_by=principal.user,
            created_at=now,
            updated_at=now,
            # An execution's name is never free again: a repository of the same id that is made later begins later.
            version=now,
        )
        if self._store.repository(repository.id) is not None:
            raise Conflict(
                f"There is a repository {repository.id!r} already: choose another repositoryId, or delete it first.",
                code="repository_exists",
                field="repositoryId",
            )
        default = self._default(principal, repository) if repository.embedding_model_id else None
        repository = replace(
            repository, pipelines=self._pipelines(repository, request.pipelines or [], default)
        )
        self._store.create_repository(repository, default)
        return repository_answer(repository)

    def update(self, principal: Principal, repository_id: str, request: UpdateRepository) -> RepositoryAnswer:
        """Changes what the request names; administrators of retrieval may name pipelines only.

        Raises NotFound, Forbidden, InvalidRequest naming the field, Conflict while another change is under way.
        """
        old = self._lookup.repository(principal, repository_id)
        named = request.model_fields_set - {"pipelines", "bedrock_knowledge_base_config"}
        if named and not principal.is_admin:
            raise Forbidden(
                "Administrators of retrieval change pipelines only; the rest is for administrators."
            )
        self._free(old)
        default = self._store.default_collection(old.id)
        changes: dict[str, Any] = {
            name: value
            for name, value in {
                "name": request.repository_name,
                "description": request.description,
                "allow_user_collections": request.allow_user_collections,
            }.items()
            if value is not None
        }
        if request.metadata is not None:
            changes["tags"] = tuple(request.metadata.tags)
            changes["custom_fields"] = custom_fields_of(request.metadata)
        if request.allowed_groups is not None:
            changes["allowed_groups"] = self._groups(old, tuple(request.allowed_groups))
        new_default = None
        if request.embedding_model_id and request.embedding_model_id != old.embedding_model_id:
            changes["embedding_model_id"] = request.embedding_model_id
            if default is None:
                new_default = self._default(principal, replace(old, **changes))
            elif default.embedding_model != request.embedding_model_id:
                raise Conflict(
                    f"The default collection is embedded with {default.embedding_model!r}, which never changes: make "
                    "a collection with the other model, or index this one anew.",
                    code="embedding_model_immutable",
                    field="embeddingModelId",
                )
        if request.pipelines is not None:
            changes["pipelines"] = self._pipelines(old, request.pipelines, default or new_default)
        new = replace(
            old,
            **changes,
            status=RepositoryStatus.UPDATE_IN_PROGRESS,
            reason="",
            updated_at=int(self._clock() * 1000),
            version=old.version + 1,
        )
        if new_default is not None:
            self._store.create_collection(new_default)
        if not self._store.change(old, new):
            raise _changed(old.id)
        return repository_answer(new)

    def delete(self, repository_id: str) -> RepositoryDeletion:
        """Wishes a repository away with all its collections; asking again changes nothing.

        Raises NotFound, or Conflict when the row changes under our hands.
        """
        old = self._store.repository(repository_id)
        if old is None:
            raise NotFound(f"There is no repository {repository_id!r}.", code="repository_not_found")
        if old.status is RepositoryStatus.DELETE_IN_PROGRESS:
            return RepositoryDeletion(execution_arn=f"{old.id}-{old.version}")
        new = replace(
            old,
            status=RepositoryStatus.DELETE_IN_PROGRESS,
            reason="",
            updated_at=int(self._clock() * 1000),
            version=old.version + 1,
        )
        if not self._store.change(old, new):
            raise _changed(old.id)
        return RepositoryDeletion(execution_arn=f"{new.id}-{new.version}")

    def _default(self, principal: Principal, repository: Repository) -> Collection:
        model = repository.embedding_model_id
        now = int(self._clock() * 1000)
        return Collection(
            id=model,
            repository_id=repository.id,
            name=DEFAULT_COLLECTION_NAME,
            embedding_model=model,
            dimensions=self._models.dimensions(principal, model, repository.type, field="embeddingModelId"),
            is_default=True,
            allow_chunking_override=True,
            created_by=principal.user,
            created_at=now,
            updated_at=now,
            version=now,
        )

    def _groups(self, repository: Repository, groups: tuple[str, ...]) -> tuple[str, ...]:
        """The groups as they are wanted. Raises Conflict where a collection is for a group that would be left out."""
        if groups:
            for collection in self._store.collections(repository.id):
                outside = sorted(set(collection.allowed_groups) - set(groups))
                if outside:
                    raise Conflict(
                        f"The collection {collection.name!r} is for {', '.join(outside)}: change its allowedGroups "
                        "first.",
                        field="allowedGroups",
                    )
        return groups

    def _pipelines(
        self, repository: Repository, wanted: list[PipelineDefinition], default: Collection | None
    ) -> tuple[Pipeline, ...]:
        ids = []
        for number, definition in enumerate(wanted):
            field = f"pipelines.{number}"
            if definition.s3_bucket == self._documents_bucket:
                raise InvalidRequest(
                    "That is the drop folder's bucket, whose files are taken in without a pipeline.",
                    field=f"{field}.s3Bucket",
                )
            word = definition.collection_id or ""
            if default is not None and word in ("", default.id, default.name, repository.embedding_model_id):
                ids.append(default.id)
                continue
            found = resolve(self._store, repository, word)
            if found is None:
                what = f"no collection {word!r}" if word else "no default collection: name a collectionId"
                raise InvalidRequest(
                    f"The repository {repository.id} has {what}.", field=f"{field}.collectionId"
                )
            ids.append(found.id)
        return pipelines_of(wanted, ids, repository.pipelines)

    @staticmethod
    def _free(repository: Repository) -> None:
        if repository.status in BUSY:
            raise Conflict(
                f"The repository {repository.id} is being changed ({repository.status}): try again when that is done."
            )


def _no_knowledge_base(kind: str) -> None:
    if kind == "bedrock_knowledge_base":
        raise InvalidRequest(
            "Repositories of Amazon Bedrock knowledge bases are not offered: make one of type pgvector or opensearch, "
            "and give it a pipeline from the knowledge base's bucket.",
            field="type",
        )


def _changed(repository_id: str) -> Conflict:
    return Conflict(
        f"The repository {repository_id!r} has just been changed by another request: look, and try again."
    )
