"""Finding repositories and collections on somebody's behalf. What they may not see does not exist for them."""

from lisa.errors import NotFound
from lisa.identity.principal import Principal
from lisa.rag.access import sees_collection, sees_repository
from lisa.rag.records import Collection, Repository
from lisa.rag.repositories.store import RepositoryStore


def resolve(store: RepositoryStore, repository: Repository, name: str) -> Collection | None:
    """The collection that a word stands for: its id, its name, or the repository's embedding model.

    The embedding model and the empty word stand for the default collection. Nobody's rights are looked at.
    """
    if name in ("", repository.embedding_model_id):
        return store.default_collection(repository.id)
    return store.collection(repository.id, name) or store.collection_named(repository.id, name)


class Lookup:
    def __init__(self, store: RepositoryStore) -> None:
        self._store = store

    def repositories(self, principal: Principal) -> list[Repository]:
        """Those that the caller sees, by id."""
        return [found for found in self._store.repositories() if sees_repository(principal, found)]

    def repository(self, principal: Principal, repository_id: str) -> Repository:
        """Raises NotFound also for one that the caller may not see."""
        found = self._store.repository(repository_id)
        if found is None or not sees_repository(principal, found):
            raise NotFound(f"There is no repository {repository_id!r}.", code="repository_not_found")
        return found

    def collection(
        self, principal: Principal, repository_id: str, name: str
    ) -> tuple[Repository, Collection]:
        """A collection by what `resolve` takes for a name. Raises NotFound as `repository` does."""
        repository = self.repository(principal, repository_id)
        found = resolve(self._store, repository, name)
        if found is None or not sees_collection(principal, repository, found):
            what = f"no collection {name!r}" if name else "no default collection"
            raise NotFound(
                f"The repository {repository.id} has {what}.",
                code="collection_not_found",
                field="collectionId",
            )
        return repository, found

    def collections(self, principal: Principal, repository: Repository) -> list[Collection]:
        """The collections of a repository that the caller sees, by id."""
        return [
            found
            for found in self._store.collections(repository.id)
            if sees_collection(principal, repository, found)
        ]
