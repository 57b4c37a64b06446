"""To which collections an object belongs: by pipelines that name its folder, or by its path in the drop folder."""

from collections.abc import Sequence
from dataclasses import dataclass

from lisa.rag.documents import naming
from lisa.rag.documents.queue import Request
from lisa.rag.records import Collection, Pipeline, Repository
from lisa.rag.repositories.lookup import resolve
from lisa.rag.repositories.store import RepositoryStore


@dataclass(frozen=True, slots=True)
class Destination:
    repository: Repository
    collection: Collection
    pipeline: Pipeline | None = None

    @property
    def pipeline_name(self) -> str:
        return f"{self.repository.id}/{self.pipeline.id}" if self.pipeline else ""


@dataclass(frozen=True, slots=True)
class Nowhere:
    """Why an object belongs nowhere, for people; and what its path names, as far as it does."""

    reason: str
    repository_id: str
    collection_id: str
    pipeline: str = ""


class Places:
    """Repositories are read once, when first asked for: make one for each batch of work."""

    def __init__(self, store: RepositoryStore, drop_bucket: str) -> None:
        self._store = store
        self._drop_bucket = drop_bucket
        self._repositories: dict[str, Repository] | None = None
        self._collections: dict[tuple[str, str], Collection | None] = {}

    def repository(self, repository_id: str) -> Repository | None:
        return self._all().get(repository_id)

    def collection(self, repository_id: str, word: str) -> Collection | None:
        """By its id, its name, or an empty word for the default one."""
        repository = self.repository(repository_id)
        if repository is None:
            return None
        if (repository_id, word) not in self._collections:
            self._collections[repository_id, word] = resolve(self._store, repository, word)
        return self._collections[repository_id, word]

    def pipeline(self, name: str) -> Pipeline | None:
        """By `<repository>/<pipeline>`."""
        repository_id, _, pipeline_id = name.partition("/")
        repository = self.repository(repository_id)
        found = [each for each in repository.pipelines if each.id == pipeline_id] if repository else []
        return found[0] if found else None

    def of(self, request: Request) -> Sequence[Destination | Nowhere]:
        """Where an object belongs; empty when nobody asked for it."""
        if naming.is_folder(request.key):
            return []
        if request.pipeline:
            return self._by_pipeline(request.pipeline)
        fed = [
            place
            for repository in self._all().values()
            for pipeline in repository.pipelines
            if pipeline.trigger == "event"
            and pipeline.bucket == request.bucket
            and request.key.startswith(pipeline.prefix)
            for place in self._by_pipeline(f"{repository.id}/{pipeline.id}")
        ]
        if fed or request.bucket != self._drop_bucket or request.key.startswith("_"):
            return fed
        return [self._dropped(request.key)]

    def _by_pipeline(self, name: str) -> Sequence[Destination | Nowhere]:
        repository = self.repository(name.partition("/")[0])
        pipeline = self.pipeline(name)
        if repository is None or pipeline is None:
            return []  # it was removed meanwhile
        collection = self.collection(repository.id, pipeline.collection_id)
        if collection is None:
            reason = (
                f"The pipeline's collection {pipeline.collection_id!r} is not there: change the pipeline."
            )
            return [Nowhere(reason, repository.id, pipeline.collection_id, name)]
        return [Destination(repository, collection, pipeline)]

    def _dropped(self, key: str) -> Destination | Nowhere:
        place = naming.place_of(key)
        if place is None:
            reason = "The file lies in no repository's folder: put it below <repository>/<collection>/."
            return Nowhere(reason, key.partition("/")[0] if "/" in key else "", "")
        repository = self.repository(place.repository_id)
        if repository is None:
            reason = (
                f"There is no repository {place.repository_id!r}: create it, or put the file below another."
            )
            return Nowhere(reason, place.repository_id, place.collection)
        collection = self.collection(repository.id, place.collection)
        if collection is None:
            what = f"no collection {place.collection!r}" if place.collection else "no default collection"
            reason = (
                f"The repository {repository.id} has {what}: a folder is called by the collection's id, or by its name "
                "percent-encoded."
            )
            return Nowhere(reason, repository.id, place.collection)
        return Destination(repository, collection)

    def _all(self) -> dict[str, Repository]:
        if self._repositories is None:
            self._repositories = {each.id: each for each in self._store.repositories()}
        return self._repositories
