"""Searches vector stores on a caller's behalf, in as many of them as were asked for."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lisa.errors import LisaError
from lisa.identity import Principal
from lisa.rag.openai.ids import collection_of, no_vector_store
from lisa.rag.openai.placing import file_id_of

from lisa_gateway.retrieval.functions import Functions
from lisa_gateway.validation import refuse

MAX_STORES = 10
MAX_QUERIES = 8
MAX_RESULTS = 50
# What is longer no embedding model reads; the search itself cuts to what its model does.
MAX_QUERY_CHARACTERS = 16_000
CHUNKS = 100
MAX_TEXT_BYTES = 2 * 1024 * 1024  # of one page of a file's text
# Stores that a caller may not see do not exist, in the words of this interface.
_HIDDEN = frozenset({"repository_not_found", "collection_not_found"})


@dataclass(frozen=True, slots=True)
class Search:
    """What is searched for. `threshold` is the least score; `filters` are given on as they are, and judged there."""

    store_ids: tuple[str, ...]
    queries: tuple[str, ...]
    limit: int
    filters: Mapping[str, Any] | None = None
    threshold: float | None = None
    rerank: bool = True


@dataclass(frozen=True, slots=True)
class Found:
    """A passage. `score` is higher for the better ones; `page` counts from 1."""

    file_id: str
    filename: str
    text: str
    score: float
    attributes: Mapping[str, Any]
    page: int | None = None

    def result(self) -> dict[str, Any]:
        """As a result of a `file_search_call`."""
        return {
            "attributes": dict(self.attributes),
            "file_id": self.file_id,
            "filename": self.filename,
            "score": self.score,
            "text": self.text,
        }


class Searcher:
    def __init__(self, functions: Functions) -> None:
        self._functions = functions

    async def search(self, principal: Principal, search: Search) -> list[Found]:
        """The best passages of all the stores, best first.

        Raises NotFound for a store that is not there or hidden, InvalidRequest for a filter that is wrong.
        """
        places = [(store_id, *collection_of(store_id)) for store_id in search.store_ids]
        answers = await asyncio.gather(
            *(self._one(principal, search, query, place) for place in places for query in search.queries)
        )
        best: dict[tuple[str, str], Found] = {}
        for found in (found for answer in answers for found in answer):
            key = found.file_id, found.text
            if key not in best or best[key].score < found.score:
                best[key] = found
        return sorted(best.values(), key=lambda found: -found.score)[: search.limit]

    async def text(
        self, principal: Principal, place: Mapping[str, Any], after: int
    ) -> tuple[list[str], int | None]:
        """A document's text in pieces, from the chunk behind `after`; and after which to go on, None at the end.

        `place` names repository, collection and document. Raises NotFound for what the caller may not see.
        """
        pieces: list[str] = []
        size, end = 0, 0
        while size < MAX_TEXT_BYTES:
            call = {"operation": "chunks", **place, "after": after, "limit": CHUNKS}
            chunks = (await self._functions.search(principal, call))["chunks"]
            for chunk in chunks:
                # Chunks overlap; what the one before has said is left out.
                text = chunk["text"][max(0, end - chunk["start"]) :] if pieces else chunk["text"]
                pieces.append(text)
                size += len(text)
                after, end = int(chunk["ordinal"]), int(chunk["end"])
            if len(chunks) < CHUNKS:
                return pieces, None
        return pieces, after

    async def _one(
        self, principal: Principal, search: Search, query: str, place: tuple[str, str, str]
    ) -> list[Found]:
        store_id, repository_id, collection_id = place
        call: dict[str, Any] = {
            "repositoryId": repository_id,
            "collectionId": collection_id,
            "query": query,
            "topK": search.limit,
            "rerank": search.rerank,
        }
        if search.filters is not None:
            call["filter"] = search.filters
        if search.threshold is not None:
            call["scoreThreshold"] = search.threshold
        try:
            answer = await self._functions.search(principal, call)
        except LisaError as error:
            if error.code in _HIDDEN:
                raise no_vector_store(store_id) from None
            raise
        return [_found(hit, repository_id, collection_id) for hit in answer["hits"]]


def _found(hit: Mapping[str, Any], repository_id: str, collection_id: str) -> Found:
    page = hit.get("page")
    return Found(
        file_id=file_id_of(
            repository_id=str(hit.get("repositoryId", repository_id)),
            collection_id=str(hit.get("collectionId", collection_id)),
            document_id=str(hit["documentId"]),
            source=str(hit["source"]),
            owner=str(hit.get("owner") or ""),
        ),
        filename=str(hit["documentName"]),
        text=str(hit["text"]),
        score=float(hit["score"]),
        attributes=hit.get("attributes") or {},
        page=int(page) if page is not None else None,
    )


def ranking(options: Any, field: str) -> tuple[float | None, bool]:
    """The threshold and whether to rerank, from `ranking_options`. Raises a 400 naming what is wrong."""
    if options is None:
        return None, True
    if not isinstance(options, dict):
        raise refuse(f"`{field}` must be an object.", field, "invalid_type")
    if options.get("hybrid_search") is not None:
        raise refuse(
            f"`{field}.hybrid_search` cannot be set: words and meaning are weighed by the deployment. Leave it out.",
            f"{field}.hybrid_search",
            "unsupported_parameter",
        )
    ranker = options.get("ranker")
    if ranker is not None and not isinstance(ranker, str):
        raise refuse(f"`{field}.ranker` must be a string.", f"{field}.ranker", "invalid_type")
    threshold = options.get("score_threshold")
    if threshold is None:
        return None, ranker != "none"
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
        raise refuse(
            f"`{field}.score_threshold` must be a number from 0 to 1.",
            f"{field}.score_threshold",
            "invalid_value",
        )
    return float(threshold), ranker != "none"


def filters_of(value: Any, field: str) -> Mapping[str, Any] | None:
    if value is not None and not isinstance(value, dict):
        raise refuse(f"`{field}` must be an object.", field, "invalid_type")
    return value


def count_of(value: Any, field: str, default: int) -> int:
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_RESULTS:
        raise refuse(f"`{field}` must be an integer from 1 to {MAX_RESULTS}.", field, "invalid_value")
    return value


def texts_of(value: Any, field: str, most: int) -> tuple[str, ...]:
    """One or several texts that are not empty."""
    found: Sequence[Any] = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(text, str) and text.strip() for text in found):
        raise refuse(f"`{field}` must be a string or an array of strings, none empty.", field, "invalid_type")
    if not 1 <= len(found) <= most:
        raise refuse(f"`{field}` must hold 1 to {most} strings.", field, "invalid_value")
    return tuple(found)
