"""Repositories, a store and models to search in, written by hand."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from lisa.errors import NotFound
from lisa.identity.principal import Principal
from lisa.rag.records import Collection, CollectionStatus, Repository, RepositoryStatus, StoreType
from lisa.rag.vectors.base import Arms, Chunk, Hit, Index, Query, Reader, StoredDocument

ALICE = Principal("alice", frozenset({"team-a"}), is_admin=False, expires_at=0)
BOB = Principal("bob", frozenset({"team-b"}), is_admin=False, expires_at=0)
ADMIN = Principal("admin", frozenset({"admin"}), is_admin=True, expires_at=0)

REPOSITORY = Repository(
    "docs",
    StoreType.PGVECTOR,
    "Docs",
    embedding_model_id="mini",
    status=RepositoryStatus.CREATE_COMPLETE,
)
DEFAULT = Collection(
    "mini", "docs", "default", "mini", 3, is_default=True, generation=4, status=CollectionStatus.ACTIVE
)
TEAM_A = replace(DEFAULT, id="c-a", name="Team A", allowed_groups=("team-a",), is_default=False)


def hit(
    name: str,
    score: float,
    text: str = "",
    *,
    ordinal: int = 0,
    heading: tuple[str, ...] = ("Title",),
    **attributes: str | float,
) -> Hit:
    document = StoredDocument(
        id=f"id-{name}",
        name=f"{name}.txt",
        source=f"s3://bucket/docs/mini/{name}.txt",
        owner="alice",
        media_type="text/plain",
        uploaded_at=1,
        sequencer="1",
        tags=("red",),
        attributes=attributes,
    )
    chunk = Chunk(ordinal, text or f"text of {name}", 10, 20, heading=heading, page=2)
    return Hit(document, chunk, score)


class Repositories:
    """What Lookup asks of the table of repositories."""

    def repository(self, repository_id: str) -> Repository | None:
        return REPOSITORY if repository_id == "docs" else None

    def collection(self, repository_id: str, collection_id: str) -> Collection | None:
        return next((each for each in (DEFAULT, TEAM_A) if each.id == collection_id), None)

    def collection_named(self, repository_id: str, name: str) -> Collection | None:
        return next((each for each in (DEFAULT, TEAM_A) if each.name == name), None)

    def default_collection(self, repository_id: str) -> Collection | None:
        return DEFAULT


@dataclass
class Store:
    """Answers what it was given, and remembers what it was asked."""

    arms: Arms = field(default_factory=Arms)
    is_there: bool = True
    asked: list[tuple[Index, Query, Reader]] = field(default_factory=list)

    def search(self, index: Index, query: Query, reader: Reader) -> Arms:
        self.asked.append((index, query, reader))
        if not self.is_there:
            raise NotFound("no index")
        return self.arms

    def chunks(self, index: Index, document_id: str, *, after: int = -1, limit: int = 100) -> list[Chunk]:
        return [Chunk(number, f"{document_id} {number}", 0, 1) for number in range(after + 1, after + 3)][
            :limit
        ]


@dataclass
class Words:
    """A tokenizer whose tokens are words."""

    max_tokens: int = 5

    def count(self, text: str) -> int:
        return len(text.split())

    def counts(self, texts: Sequence[str]) -> list[int]:
        return [self.count(text) for text in texts]

    def truncate(self, text: str, tokens: int) -> tuple[str, bool]:
        words = text.split()
        return (" ".join(words[:tokens]), True) if len(words) > tokens else (text, False)


@dataclass
class Models:
    """Embeds every text as (its length, 0, 1); reranks by `rank`."""

    rank: Sequence[float] = ()
    embedded: list[tuple[str, list[str]]] = field(default_factory=list)
    reranked: list[tuple[str, str, list[str]]] = field(default_factory=list)

    def embed(self, model: str, texts: Sequence[str]) -> np.ndarray:
        self.embedded.append((model, list(texts)))
        return np.array([[len(text), 0, 1] for text in texts], np.float32)

    def rerank(self, model: str, query: str, texts: Sequence[str]) -> list[float]:
        self.reranked.append((model, query, list(texts)))
        return list(self.rank[: len(texts)])


class Attributes:
    def fields(self, repository_id: str, collection_id: str) -> dict[str, set[str]]:
        return {"year": {"number"}, "author": {"text"}}
