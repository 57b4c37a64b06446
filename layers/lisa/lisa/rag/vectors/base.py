"""What a store of chunks promises. pgvector and OpenSearch keep the promise; one suite of tests holds them to it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from lisa.rag.filters import Filter
from lisa.rag.records import Attribute

Vector = Sequence[float]


@dataclass(frozen=True, slots=True)
class Index:
    """Where one generation of a collection lies in its store. `dimensions` is the length of the vectors."""

    repository_id: str
    collection_id: str
    generation: int
    dimensions: int


@dataclass(frozen=True, slots=True)
class Visibility:
    """Who may see an index: without `groups` everyone, or only its `owner` where it has one; administrators always."""

    groups: tuple[str, ...] = ()
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Reader:
    """On whose behalf is searched. The store itself keeps what they may not see out of its answer."""

    user: str
    groups: frozenset[str]
    is_admin: bool = False


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document's text. `start` and `end` count characters of the parsed text; pages count from 1.

    `heading` is the document's title and the headings above the piece, outermost first. What is embedded, and what
    words are looked for in, is `heading` and `text` together.
    """

    ordinal: int
    text: str
    start: int
    end: int
    heading: tuple[str, ...] = ()
    page: int | None = None


@dataclass(frozen=True, slots=True)
class EmbeddedChunk:
    chunk: Chunk
    vector: Vector


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """What of a document lies beside its chunks, to be filtered by and to be shown with a hit.

    `sequencer` orders versions of one document as text (padded, so that later sorts higher).
    """

    id: str
    name: str
    source: str
    owner: str
    media_type: str
    uploaded_at: int
    sequencer: str
    tags: tuple[str, ...] = ()
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


class Mode(StrEnum):
    DENSE = "dense"
    LEXICAL = "lexical"
    HYBRID = "hybrid"


@dataclass(frozen=True, slots=True)
class Query:
    """`limit` is how many of the best each arm answers; `text` is for the lexical arm, `vector` for the dense one."""

    mode: Mode
    limit: int
    text: str = ""
    vector: Vector | None = None
    filter: Filter | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that was found by an arm. `score` is that arm's: cosine similarity (-1 to 1), or BM25 (0 and more)."""

    document: StoredDocument
    chunk: Chunk
    score: float


@dataclass(frozen=True, slots=True)
class Arms:
    """What each arm found, best first; the one that was not asked is empty."""

    dense: tuple[Hit, ...] = ()
    lexical: tuple[Hit, ...] = ()


@dataclass(frozen=True, slots=True)
class Size:
    """`bytes` is what the index takes in its store, as far as the store knows."""

    documents: int
    chunks: int
    bytes: int


class VectorStore(Protocol):
    """Every call may be made again after any failure, and by several threads. All raise Unavailable when the store is
    away. `writers` is how many documents one process had best write at once."""

    writers: int

    def create(self, index: Index, visibility: Visibility) -> None:
        """Makes what an index needs; sets who may see it."""

    def set_visibility(self, index: Index, visibility: Visibility) -> None:
        """Takes effect for every search that begins afterwards."""

    def drop(self, index: Index) -> None:
        """Removes the index with all that is in it; one that is not there is no error."""

    def replace(self, index: Index, document: StoredDocument, chunks: Iterable[EmbeddedChunk]) -> bool:
        """Puts this version of a document in the place of any older one; a search sees one whole, never a mixture.

        Chunks are consumed as they come and not held all at once. False, and nothing changed, when the store has a
        newer version, or has been told that a newer one was removed; the same version again is written again.
        """

    def retag(self, index: Index, document: StoredDocument) -> bool:
        """Changes what lies beside the chunks of a document whose content is the same, with its `sequencer`.

        False when the document is not there, or is newer.
        """

    def remove(self, index: Index, document_id: str, sequencer: str) -> bool:
        """Removes a document and remembers that: an older version does not come back. False when newer is there."""

    def search(self, index: Index, query: Query, reader: Reader) -> Arms:
        """The best chunks of each arm; empty for a reader who may not see the index.

        Raises InvalidRequest for a vector of the wrong length, and NotFound for an index that was never created.
        """

    def chunks(self, index: Index, document_id: str, *, after: int = -1, limit: int = 100) -> list[Chunk]:
        """Chunks of a document in order, from the ordinal behind `after`."""

    def size(self, index: Index) -> Size: ...
