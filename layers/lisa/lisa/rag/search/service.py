"""Search in one collection on somebody's behalf: cut the query, embed it, ask the store, fuse, rerank."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from lisa.errors import InvalidRequest, NotFound
from lisa.identity.principal import Principal
from lisa.rag.access import reader
from lisa.rag.embedding import Embedder
from lisa.rag.records import Collection, CollectionStatus, Repository
from lisa.rag.repositories.lookup import Lookup
from lisa.rag.search.fields import parse_filter
from lisa.rag.search.fusion import Candidate, fuse, one_arm, ranked
from lisa.rag.search.neighbours import regularise
from lisa.rag.tokenizing import Tokenizer
from lisa.rag.vectors.base import Arms, Chunk, Index, Mode, Query, VectorStore

MAX_TOP_K = 100
DEFAULT_TOP_K = 3  # upstream's
ARM_LIMIT = 100  # what each arm is asked for, at least
RERANKED = 50  # a reranker reads each text anew: on a CPU that is seconds
MAX_QUERY = 100_000
MAX_CHUNKS = 100


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """`collection` is an id, a name or an embedding model; `filter` is as people wrote it (lisa.rag.filters).

    `threshold` lies between 0 and 1: hits with a lower score are left out. Without `second_stage` what both arms found
    is fused and no more; `rerank_model` orders the best anew after it. `by_document` keeps the best piece of each
    document only.
    """

    repository_id: str
    collection: str
    query: str
    top_k: int = DEFAULT_TOP_K
    filter: object = None
    threshold: float = 0.0
    mode: Mode = Mode.HYBRID
    second_stage: bool = True
    rerank_model: str = ""
    by_document: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """`hits` are best first. `query` is what was searched for: of one that the model cannot read whole, its beginning.

    `candidates` are all that were found, before threshold and `top_k`; `milliseconds` says where the time went.
    """

    repository: Repository
    collection: Collection
    query: str
    truncated: bool
    hits: tuple[Candidate, ...]
    candidates: tuple[Candidate, ...]
    milliseconds: Mapping[str, float] = field(default_factory=dict)


class Fields(Protocol):
    """The attributes of a collection's documents with the types of their values (lisa.rag.documents.store)."""

    def fields(self, repository_id: str, collection_id: str) -> Mapping[str, set[str]]: ...


class SearchService:
    """`tokenizer` and `store` find the tokenizer of a model and the store of a repository."""

    def __init__(
        self,
        lookup: Lookup,
        fields: Fields,
        tokenizer: Callable[[str], Tokenizer],
        embedder: Embedder,
        store: Callable[[Repository], VectorStore],
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._lookup = lookup
        self._fields = fields
        self._tokenizer = tokenizer
        self._embedder = embedder
        self._store = store
        self._clock = clock

    def search(self, principal: Principal, request: SearchRequest) -> Found:
        """Raises NotFound for what the caller may not see and for a model that is gone.

        InvalidRequest names the field that was wrong; Unavailable says in how many seconds the model or the store may
        be back.
        """
        watch = _Watch(self._clock)
        _check(request)
        repository, collection = self._collection(principal, request.repository_id, request.collection)
        wanted = (
            None
            if request.filter is None
            else parse_filter(request.filter, self._fields.fields(repository.id, collection.id))
        )
        watch.lap("lookup")
        query, truncated = self._cut(collection, request.query)
        watch.lap("tokenize")
        vector = None
        if request.mode is not Mode.LEXICAL:
            vector = self._embedder.embed(collection.embedding_model, [query])[0].tolist()
            watch.lap("embed")
        limit = max(ARM_LIMIT, request.top_k)
        asked = Query(request.mode, limit, text=query, vector=vector, filter=wanted)
        arms = self._ask(repository, collection, asked, principal)
        watch.lap("store")
        if request.mode is Mode.HYBRID:
            candidates = fuse(arms, limit)
            candidates = regularise(candidates) if request.second_stage else candidates
        else:
            candidates = one_arm(arms)
        candidates = _without_repeats(candidates)
        watch.lap("fuse")
        if request.rerank_model:
            candidates = self._rerank(request.rerank_model, query, candidates)
            watch.lap("rerank")
        hits = [each for each in candidates if each.score >= request.threshold]
        if request.by_document:
            hits = _best_of_documents(hits)
        hits = hits[: request.top_k]
        return Found(
            repository, collection, query, truncated, tuple(hits), tuple(candidates), watch.milliseconds
        )

    def chunks(
        self,
        principal: Principal,
        repository_id: str,
        collection: str,
        document_id: str,
        *,
        after: int = -1,
        limit: int = MAX_CHUNKS,
    ) -> list[Chunk]:
        """Pieces of a document in order, from the ordinal behind `after`. Raises NotFound as `search` does."""
        if not 1 <= limit <= MAX_CHUNKS:
            raise InvalidRequest(f"limit must be between 1 and {MAX_CHUNKS}.", field="limit")
        repository, found = self._collection(principal, repository_id, collection)
        return self._store(repository).chunks(index_of(found), document_id, after=after, limit=limit)

    def _collection(
        self, principal: Principal, repository_id: str, name: str
    ) -> tuple[Repository, Collection]:
        """Raises NotFound also for one that is being deleted: what is left of it is nobody's to read."""
        repository, found = self._lookup.collection(principal, repository_id, name)
        if found.status is CollectionStatus.DELETE_IN_PROGRESS:
            raise NotFound(
                f"The collection {found.name!r} is being deleted.",
                code="collection_not_found",
                field="collectionId",
            )
        return repository, found

    def _cut(self, collection: Collection, query: str) -> tuple[str, bool]:
        tokenizer = self._tokenizer(collection.embedding_model)
        return tokenizer.truncate(query, tokenizer.max_tokens)

    def _ask(
        self, repository: Repository, collection: Collection, query: Query, principal: Principal
    ) -> Arms:
        store = self._store(repository)
        try:
            return store.search(index_of(collection), query, reader(principal))
        except NotFound:
            return Arms()  # a collection that no document has been put into yet

    def _rerank(self, model: str, query: str, candidates: list[Candidate]) -> list[Candidate]:
        """The best by the model's own score, and behind them the others; none of those scores higher."""
        head, tail = candidates[:RERANKED], candidates[RERANKED:]
        texts = ["\n".join((*each.hit.chunk.heading, each.hit.chunk.text)) for each in head]
        given = self._embedder.rerank(model, query, texts)
        # Most models answer probabilities. Those that answer logits have some below 0 or above 1.
        scores = given if all(0 <= score <= 1 for score in given) else [_sigmoid(score) for score in given]
        ordered = ranked(
            [
                replace(each, rerank=raw, score=score)
                for each, raw, score in zip(head, given, scores, strict=True)
            ]
        )
        last = ordered[-1].score if ordered else 1.0
        return ordered + [replace(each, score=min(each.score, last)) for each in tail]


def index_of(collection: Collection) -> Index:
    """Where a collection's documents are searched."""
    return Index(collection.repository_id, collection.id, collection.generation, collection.dimensions)


class _Watch:
    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last = clock()
        self.milliseconds: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = self._clock()
        self.milliseconds[name] = round((now - self._last) * 1000, 2)
        self._last = now


def _check(request: SearchRequest) -> None:
    if not request.query.strip():
        raise InvalidRequest("The query is empty: say what you are looking for.", field="query")
    if len(request.query) > MAX_QUERY:
        raise InvalidRequest(f"The query is longer than {MAX_QUERY:,} characters.", field="query")
    if not 1 <= request.top_k <= MAX_TOP_K:
        raise InvalidRequest(f"topK must be between 1 and {MAX_TOP_K}.", field="topK")
    if not 0 <= request.threshold <= 1:
        raise InvalidRequest("The score threshold must be between 0 and 1.", field="scoreThreshold")


def _without_repeats(candidates: list[Candidate]) -> list[Candidate]:
    """Of pieces of one document that say the same, word for word, the best one."""
    seen: set[tuple[str, str]] = set()
    kept = []
    for each in candidates:
        said = (each.hit.document.id, " ".join(each.hit.chunk.text.split()))
        if said not in seen:
            seen.add(said)
            kept.append(each)
    return kept


def _best_of_documents(candidates: list[Candidate]) -> list[Candidate]:
    best: dict[str, Candidate] = {}
    for each in candidates:
        best.setdefault(each.hit.document.id, each)
    return list(best.values())


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-max(-60.0, min(60.0, value))))
