"""How search is asked for: by REST as query parameters, by the gateway as a document."""

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr
from pydantic.alias_generators import to_camel

from lisa.errors import InvalidRequest
from lisa.rag.search.service import DEFAULT_TOP_K, MAX_CHUNKS, MAX_TOP_K, SearchRequest
from lisa.rag.vectors.base import Mode


class _Part(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, validate_by_alias=True)


class SearchQuery(_Part):
    """Upstream's parameters and ours. What is wrong with values is said by the search itself."""

    query: str = Field(default="", description="What you are looking for, in plain words")
    top_k: int = Field(default=DEFAULT_TOP_K, description=f"How many hits at most, 1-{MAX_TOP_K}")
    collection_id: str = Field(default="", description="The collection's id or name")
    model_name: str = Field(
        default="",
        description="Instead of collectionId: the repository's embedding model, for its default collection",
    )
    score: bool = Field(default=False, description="Adds similarity_score and scores to the metadata")
    filter: str = Field(
        default="",
        description='As JSON: {"type": "eq", "key": "year", "value": 2024}, or "and"/"or" of "filters"',
    )
    score_threshold: float = Field(default=0.0, description="0 to 1: leaves out hits with a lower score")
    mode: Mode = Field(
        default=Mode.HYBRID, description="By meaning (dense), by words (lexical) or by both (hybrid)"
    )
    rerank: bool = Field(
        default=True, description="Whether pieces that resemble other good ones come first (hybrid)"
    )
    rerank_model: str = Field(default="", description="A registered model that orders the best anew")
    group_by: Literal["", "document"] = Field(
        default="",
        description="`document`: of each document the best piece only, among the 100 best of each arm",
    )
    shown: int = Field(default=20, ge=1, le=200, description="How many candidates the inspector shows")

    def request(self, repository_id: str) -> SearchRequest:
        """Raises InvalidRequest naming a parameter that is missing or is no JSON."""
        collection = self.collection_id or self.model_name
        if not collection:
            raise InvalidRequest("Say where to search: collectionId, or modelName.", field="collectionId")
        return SearchRequest(
            repository_id,
            collection,
            self.query,
            top_k=self.top_k,
            filter=_json(self.filter),
            threshold=self.score_threshold,
            mode=self.mode,
            second_stage=self.rerank,
            rerank_model=self.rerank_model,
            by_document=self.group_by == "document",
        )


class GatewaySearch(_Part):
    """A search as the gateway asks for it. `rerank` says whether there is a second stage, `rerankModel` one more."""

    repository_id: StrictStr
    collection_id: StrictStr
    query: StrictStr
    top_k: StrictInt = 10
    filter: Any = None
    score_threshold: float | None = None
    mode: Mode = Mode.HYBRID
    rerank: StrictBool = True
    rerank_model: StrictStr | None = None

    def request(self) -> SearchRequest:
        return SearchRequest(
            self.repository_id,
            self.collection_id,
            self.query,
            top_k=self.top_k,
            filter=self.filter,
            threshold=self.score_threshold or 0.0,
            mode=self.mode,
            second_stage=self.rerank,
            rerank_model=self.rerank_model or "",
        )


class GatewayChunks(_Part):
    """A document's text, asked for in pieces: those behind the ordinal `after`."""

    repository_id: StrictStr
    collection_id: StrictStr
    document_id: StrictStr
    after: StrictInt = -1
    limit: StrictInt = MAX_CHUNKS


def _json(value: str) -> object:
    if not value:
        return None
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise InvalidRequest("filter is not JSON: check its quotes and brackets.", field="filter") from None
