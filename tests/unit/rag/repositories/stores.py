"""A store of chunks that remembers its indices and who may see them, and can be away."""

from lisa.errors import InvalidRequest, Unavailable
from lisa.rag.records import Repository
from lisa.rag.vectors.base import Index, VectorStore, Visibility


class Vectors:
    def __init__(self) -> None:
        self.indices: dict[tuple[str, str, int], Visibility] = {}
        self.away = 0
        """How many more calls find nobody there."""
        self.refuses = ""

    def open(self, repository: Repository) -> VectorStore:
        if self.refuses:
            raise InvalidRequest(self.refuses)
        return self  # type: ignore[return-value]

    def create(self, index: Index, visibility: Visibility) -> None:
        self._reach()
        self.indices[index.repository_id, index.collection_id, index.generation] = visibility

    def drop(self, index: Index) -> None:
        self._reach()
        self.indices.pop((index.repository_id, index.collection_id, index.generation), None)

    def _reach(self) -> None:
        if self.away:
            self.away -= 1
            raise Unavailable("PostgreSQL does not answer at db.example:5432.")
