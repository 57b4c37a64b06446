"""`/v1/vector_stores`: collections, as OpenAI's clients see them."""

import secrets
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from lisa.errors import Conflict, InvalidRequest, NotFound
from lisa.identity.principal import Principal
from lisa.rag.documents.service import DocumentService
from lisa.rag.openai import ids
from lisa.rag.openai.paging import PageRequest, list_document, page_of
from lisa.rag.openai.placing import drop_folder
from lisa.rag.openai.schema import CreateVectorStore, UpdateVectorStore
from lisa.rag.records import Collection, CollectionStatus, Repository
from lisa.rag.repositories.collections import CollectionService
from lisa.rag.repositories.lookup import Lookup
from lisa.rag.repositories.schema import (
    ChunkingStrategy,
    CreateCollection,
    Metadata,
    UpdateCollection,
)

DEFAULT_REPOSITORY = "default"
# What a vector store's metadata say of the collection; the rest is the caller's own.
REPOSITORY, MODEL, GROUPS = "repository", "embedding_model", "allowed_groups"
FOLDER, OWNER, REASON = "drop_folder", "owner", "reason"
_TOLD = frozenset({REPOSITORY, MODEL, FOLDER, OWNER, REASON})
# The name as it was given, where no collection may be called so.
_NAME = "vector_store_name"
_GONE = frozenset({CollectionStatus.DELETE_IN_PROGRESS, CollectionStatus.DELETE_FAILED})
_TRIES = 3


class Entry:
    """A collection that the caller sees, and its repository."""

    def __init__(self, repository: Repository, collection: Collection) -> None:
        self.repository = repository
        self.collection = collection
        self.id = ids.vector_store_id(repository.id, collection.id)


class VectorStoreService:
    """`bucket` is the drop folder's."""

    def __init__(
        self, lookup: Lookup, collections: CollectionService, documents: DocumentService, bucket: str
    ) -> None:
        self._lookup = lookup
        self._collections = collections
        self._documents = documents
        self._bucket = bucket

    def create(self, principal: Principal, request: CreateVectorStore) -> dict[str, Any]:
        """A collection that belongs to the caller, in the repository `default` unless `metadata.repository` says so.

        Raises NotFound, Forbidden, InvalidRequest naming what is wrong.
        """
        given = dict(request.metadata or {})
        for name in (FOLDER, OWNER, REASON):
            if name in given:
                raise InvalidRequest(
                    f"metadata.{name} is ours to say: leave it out.", field=f"metadata.{name}"
                )
        repository = given.pop(REPOSITORY, DEFAULT_REPOSITORY)
        model, groups = given.pop(MODEL, None), given.pop(GROUPS, "")
        chunking = request.chunking_strategy.chunking() if request.chunking_strategy else None
        make = partial(
            CreateCollection,
            description=request.description,
            embedding_model=model,
            chunking_strategy=ChunkingStrategy(type="fixed", size=chunking.size, overlap=chunking.overlap)
            if chunking
            else None,
            allow_chunking_override=True,
            allowed_groups=_groups(groups),
        )
        made = self._named(
            request.name or "",
            given,
            lambda name, fields: self._collections.create(
                principal, repository, make(name=name, metadata=fields), owned=True
            ),
        )
        return self.get(principal, ids.vector_store_id(repository, made.collection_id))

    def listed(self, principal: Principal, query: Mapping[str, str]) -> dict[str, Any]:
        """All that the caller sees. Raises InvalidRequest for a page that cannot be."""
        asked = PageRequest.of(query)
        seen = [
            Entry(repository, collection)
            for repository in self._lookup.repositories(principal)
            for collection in self._lookup.collections(principal, repository)
            if collection.status not in _GONE
        ]
        seen.sort(key=lambda entry: (entry.collection.created_at, entry.id))
        found, more = page_of(seen, asked, ids.no_vector_store)
        with ThreadPoolExecutor(8) as threads:
            return list_document(list(threads.map(self.document, found)), more)

    def entry(self, principal: Principal, store_id: str) -> Entry:
        """Raises NotFound also for what the caller may not see."""
        repository_id, collection_id = ids.collection_of(store_id)
        try:
            repository, collection = self._lookup.collection(principal, repository_id, collection_id)
        except NotFound:
            raise ids.no_vector_store(store_id) from None
        if collection.id != collection_id or collection.status in _GONE:
            raise ids.no_vector_store(store_id)
        return Entry(repository, collection)

    def get(self, principal: Principal, store_id: str) -> dict[str, Any]:
        return self.document(self.entry(principal, store_id))

    def update(self, principal: Principal, store_id: str, request: UpdateVectorStore) -> dict[str, Any]:
        """Changes the name and the metadata, which are replaced as a whole.

        What metadata say of the collection may be sent back as it was, or left out: who sees it changes only where
        `allowed_groups` says so. Raises NotFound, Forbidden, InvalidRequest.
        """
        entry = self.entry(principal, store_id)
        old = entry.collection
        given = dict(_own(old)) if request.metadata is None else dict(request.metadata)
        told = self._told(entry)
        for name in _TOLD & given.keys():
            if given.pop(name) != told.get(name):
                raise InvalidRequest(
                    f"metadata.{name} never changes: leave it out.", field=f"metadata.{name}"
                )
        groups = given.pop(GROUPS, None)
        change = partial(UpdateCollection, allowed_groups=None if groups is None else _groups(groups))
        name = request.name if request.name is not None else _name(old)
        if name == _name(old):
            fields = given | ({_NAME: name} if _NAME in old.custom_fields else {})
            wish = change(metadata=Metadata(tags=list(old.tags), custom_fields=dict(fields)))
            self._collections.update(principal, entry.repository.id, old.id, wish)
        else:
            self._named(
                name,
                given,
                lambda usable, fields: self._collections.update(
                    principal, entry.repository.id, old.id, change(name=usable, metadata=fields)
                ),
            )
        return self.get(principal, store_id)

    def delete(self, principal: Principal, store_id: str) -> dict[str, Any]:
        """Raises NotFound, or Forbidden for who does not own it."""
        entry = self.entry(principal, store_id)
        self._collections.delete(principal, entry.repository.id, entry.collection.id)
        return {"id": store_id, "object": "vector_store.deleted", "deleted": True}

    def document(self, entry: Entry) -> dict[str, Any]:
        """The vector store as OpenAI shows one. `expired` stands for one that could not be made; `reason` says why."""
        collection = entry.collection
        count = self._documents.count(entry.repository.id, collection.id)
        running = self._documents.in_progress(entry.repository.id, collection.id)
        counts = {
            "in_progress": running,
            "completed": count.documents,
            "failed": count.failed,
            "cancelled": 0,
        }
        status = "completed"
        if collection.status is CollectionStatus.CREATE_FAILED:
            status = "expired"
        elif collection.status is CollectionStatus.CREATE_IN_PROGRESS or running:
            status = "in_progress"
        return {
            "id": entry.id,
            "object": "vector_store",
            "created_at": collection.created_at // 1000,
            "name": _name(collection),
            "description": collection.description or None,
            "usage_bytes": count.bytes,
            "file_counts": counts | {"total": sum(counts.values())},
            "status": status,
            "expires_after": None,
            "expires_at": None,
            "last_active_at": collection.updated_at // 1000,
            "metadata": _own(collection) | self._told(entry),
            "owner": collection.owner or None,
        }

    def _told(self, entry: Entry) -> dict[str, str]:
        collection = entry.collection
        told = {
            REPOSITORY: entry.repository.id,
            MODEL: collection.embedding_model,
            FOLDER: drop_folder(self._bucket, entry.repository.id, collection.id),
            GROUPS: ",".join(collection.allowed_groups),
            OWNER: collection.owner,
            REASON: collection.reason,
        }
        return {name: value for name, value in told.items() if value}

    @staticmethod
    def _named(name: str, fields: dict[str, str], make: Callable[[str, Metadata], Any]) -> Any:
        """Makes something with this name, or with one like it where no collection may be called so, or one is."""
        taken: Conflict | None = None
        for number in range(_TRIES):
            usable = _usable(name, again=number > 0)
            kept = fields if usable == name else fields | {_NAME: name}
            try:
                return make(usable, Metadata(custom_fields=dict(kept)))
            except Conflict as error:
                if error.code != "collection_exists":
                    raise
                taken = error
        raise taken or Conflict("The name is taken.")


def _usable(name: str, *, again: bool) -> str:
    """A collection's name like this one; another each time `again`."""
    plain = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in " _-") else "-" for letter in name
    )
    plain = plain.strip()[:80].rstrip()
    if plain and not again and plain == name:
        return plain
    return f"{plain or 'vector-store'}-{secrets.token_hex(4)}"


def _name(collection: Collection) -> str:
    return str(collection.custom_fields.get(_NAME, collection.name))


def _own(collection: Collection) -> dict[str, str]:
    """The caller's own metadata; OpenAI's are texts."""
    return {name: _text(value) for name, value in collection.custom_fields.items() if name != _NAME}


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _groups(text: str) -> list[str]:
    return list(_split(text))


def _split(text: str) -> Iterable[str]:
    return dict.fromkeys(part.strip() for part in text.split(",") if part.strip())
