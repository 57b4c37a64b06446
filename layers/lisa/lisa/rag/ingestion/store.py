"""Fourth step: chunks and vectors go into the store, or out of it. Each document by itself: one that cannot be
stored holds up no other."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any

from lisa.errors import Conflict, LisaError, NotFound, Unavailable
from lisa.rag.access import visibility
from lisa.rag.documents.stores import Stores
from lisa.rag.ingestion.documents import Known, document_of, stored
from lisa.rag.ingestion.generations import ReindexStore
from lisa.rag.ingestion.items import Action, Item, Outcome, Work
from lisa.rag.ingestion.places import Places
from lisa.rag.ingestion.work import WorkArea
from lisa.rag.records import CollectionStatus, Repository
from lisa.rag.repositories.store import RepositoryStore
from lisa.rag.vectors.base import EmbeddedChunk, Index, VectorStore

OpenStore = Callable[[Repository], VectorStore]
# Their index was dropped, or is about to be: what comes late must not make it again.
_GOING = frozenset({CollectionStatus.DELETE_IN_PROGRESS, CollectionStatus.DELETE_FAILED})
Embedded = Callable[[Item], Iterable[EmbeddedChunk]]


class StoreDocuments:
    """`open_store` gives the store of a repository's chunks; it raises Unavailable when that is away."""

    def __init__(
        self,
        repositories: RepositoryStore,
        stores: Stores,
        reindexes: ReindexStore,
        area: WorkArea,
        open_store: OpenStore,
        *,
        drop_bucket: str,
    ) -> None:
        self._repositories = repositories
        self._stores = stores
        self._reindexes = reindexes
        self._area = area
        self._open_store = open_store
        self._drop_bucket = drop_bucket

    def __call__(self, work: Work, embedded: Sequence[dict[str, Any]] = ()) -> Work:
        """`embedded` is what became of the batches (`EmbedBatch`)."""
        batches = {int(each["number"]): each for each in embedded}
        open_items = [item for item in work.items if item.outcome in (Outcome.OPEN, Outcome.UNCHANGED)]
        if not open_items:
            return work
        known = Known.read(self._stores, open_items)
        places = Places(self._repositories, self._drop_bucket)
        # A long file is read as it is used: there is no room for all of its chunks.
        writers = 1 if work.long else self._writers(open_items, places)
        chunks = self._embedded(work.work, at_once=writers > 1)
        with ThreadPoolExecutor(writers) as threads:
            return work.with_items(
                threads.map(
                    lambda item: self._settle(item, batches, known, places, chunks),
                    work.items,
                )
            )

    def _writers(self, items: Sequence[Item], places: Places) -> int:
        """How many documents are written at once: as many as each of their stores wants."""
        writers = len(items)
        for repository_id in {each.repository_id for each in items}:
            repository = places.repository(repository_id)
            try:
                writers = min(writers, self._open_store(repository).writers if repository else 1)
            except LisaError:
                return 1  # which is told of each document that it concerns
        return writers

    def _embedded(self, work: str, *, at_once: bool) -> Embedded:
        """What gives a document's chunks; the last batch that was read is kept for the next document.

        Several at once are read one after the other and whole: there are 1,024 chunks in each at most
        (`lisa.rag.ingestion.parse`). One by one they are read as they are used.
        """
        cache: dict[int, Any] = {}
        if not at_once:
            return lambda item: self._area.embedded(work, item, cache)
        lock = Lock()

        def whole(item: Item) -> Iterable[EmbeddedChunk]:
            with lock:
                return list(self._area.embedded(work, item, cache))

        return whole

    def _settle(
        self,
        item: Item,
        batches: dict[int, dict[str, Any]],
        known: Known,
        places: Places,
        chunks: Embedded,
    ) -> Item:
        if item.outcome not in (Outcome.OPEN, Outcome.UNCHANGED) or not item.generation:
            return item
        failed = _not_embedded(item, batches)
        if failed is not None:
            return failed
        try:
            return self._store(item, known, places, chunks)
        except Unavailable as error:
            return item.became(Outcome.RETRY, error.message, code="server_error")
        except LisaError as error:
            return item.became(Outcome.FAILED, error.message, code="server_error")

    def _store(self, item: Item, known: Known, places: Places, chunks: Embedded) -> Item:
        repository = places.repository(item.repository_id)
        if repository is None:
            return item.became(Outcome.FAILED, "The repository was deleted meanwhile.")
        store = self._open_store(repository)
        index = Index(item.repository_id, item.collection_id, item.generation, item.dimensions)
        if item.action is Action.REMOVE:
            return self._remove(store, index, item)
        document = document_of(item, known, places)
        if document is None:
            return item.became(Outcome.SUPERSEDED)
        version = stored(document)
        if item.action is Action.RETAG or item.outcome is Outcome.UNCHANGED:
            if self._again_with_index(lambda: store.retag(index, version), store, index, places):
                return item.became(Outcome.STORED)
            there = self._again_with_index(
                lambda: store.chunks(index, item.document_id, limit=1), store, index, places
            )
            # A store that has lost what the table says that it holds is filled again.
            return item.became(Outcome.SUPERSEDED if there else Outcome.FORCE)
        done = self._again_with_index(
            lambda: store.replace(index, version, chunks(item)), store, index, places
        )
        return item.became(Outcome.STORED if done else Outcome.SUPERSEDED)

    def _remove(self, store: VectorStore, index: Index, item: Item) -> Item:
        try:
            removed = store.remove(index, item.document_id, item.sequencer)
        except NotFound:
            removed = True  # without an index there is nothing in it
        return item.became(Outcome.STORED if removed else Outcome.SUPERSEDED)

    def _again_with_index(
        self, write: Callable[[], Any], store: VectorStore, index: Index, places: Places
    ) -> Any:
        """Makes the index where it is missing, as for a collection's first document, unless it is to be gone."""
        try:
            return write()
        except NotFound:
            now = Places(self._repositories, self._drop_bucket)
            repository = now.repository(index.repository_id)
            collection = now.collection(index.repository_id, index.collection_id)
            if repository is None or collection is None:
                return False
            if collection.status in _GOING:
                raise Conflict(
                    f"The collection {collection.name} is {collection.status} and takes no documents."
                ) from None
            wanted = [each.number for each in self._reindexes.generations(collection)]
            if index.generation not in wanted:
                return False
            store.create(index, visibility(repository, collection))
            return write()


def _not_embedded(item: Item, batches: dict[int, dict[str, Any]]) -> Item | None:
    """The item as it ends when not all of its chunks have a vector; None when they have."""
    for part in item.parts:
        batch = batches.get(part.batch)
        if batch is None:
            return item.became(Outcome.RETRY, "Not all of its text was embedded.", code="server_error")
        if batch.get("reason"):
            outcome = Outcome.RETRY if batch.get("retry") else Outcome.FAILED
            return item.became(outcome, str(batch["reason"]), code="server_error")
        if any(part.start <= position < part.start + part.count for position in batch.get("refused", ())):
            return item.became(
                Outcome.FAILED,
                f"The embedding model {item.model} refuses a part of its text.",
                code="invalid_text",
            )
    return None
