"""The indices of a collection's generations, in the repository's store."""

from collections.abc import Callable
from typing import Any

from lisa.errors import NotFound
from lisa.rag.access import visibility
from lisa.rag.ingestion.generations import ReindexStore
from lisa.rag.records import Repository
from lisa.rag.repositories.store import RepositoryStore
from lisa.rag.vectors.base import Index, VectorStore


class Indices:
    def __init__(
        self,
        repositories: RepositoryStore,
        reindexes: ReindexStore,
        open_store: Callable[[Repository], VectorStore],
    ) -> None:
        self._repositories = repositories
        self._reindexes = reindexes
        self._open_store = open_store

    def create(self, repository_id: str, collection_id: str, generation: int) -> dict[str, Any]:
        """Makes the index of a generation that a collection has or is to have. Raises NotFound for another one."""
        repository = self._repositories.repository(repository_id)
        collection = self._repositories.collection(repository_id, collection_id)
        if repository is not None and collection is not None:
            for found in self._reindexes.generations(collection):
                if found.number == generation:
                    index = Index(repository_id, collection_id, generation, found.dimensions)
                    self._open_store(repository).create(index, visibility(repository, collection))
                    return {"outcome": "created"}
        raise NotFound(f"The collection {collection_id} has no generation {generation}.")

    def drop(self, repository_id: str, collection_id: str, generation: int) -> dict[str, Any]:
        """Unless it serves."""
        repository = self._repositories.repository(repository_id)
        collection = self._repositories.collection(repository_id, collection_id)
        if repository is None:
            return {"outcome": "gone"}
        if collection is not None and generation == collection.generation:
            return {"outcome": "serves"}
        # Which vectors were in it is not asked for when it goes.
        self._open_store(repository).drop(Index(repository_id, collection_id, generation, 1))
        return {"outcome": "dropped"}
