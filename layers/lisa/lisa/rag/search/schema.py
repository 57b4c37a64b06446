"""What search answers: upstream's shape for REST, ours for the inspector and for the gateway.

Text of documents is only ever the value of a field: it is data, whatever it says.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from lisa.rag.records import Attribute
from lisa.rag.search.fusion import Candidate
from lisa.rag.search.service import Found
from lisa.rag.vectors.base import Chunk, StoredDocument


class _Part(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, validate_by_alias=True)


class UpstreamDocument(BaseModel):
    page_content: str = Field(description="The text of the piece that was found")
    metadata: dict[str, Any] = Field(
        description="source, name, document_id, repositoryId, collectionId, tags, part, the document's own fields; "
        "page, start and end of the piece in its text, link; with score=true: similarity_score and scores"
    )


class UpstreamHit(BaseModel):
    Document: UpstreamDocument


class SimilaritySearchAnswer(_Part):
    docs: list[UpstreamHit] = Field(description="Best first")
    query: str = Field(description="What was searched for")
    truncated: bool = Field(description="Whether that is only the beginning: what the embedding model reads")


class Scores(_Part):
    """What a score was made of. Ranks count from 1; null where an arm did not find the piece."""

    dense: float | None = Field(description="Cosine similarity, -1 to 1")
    dense_rank: int | None
    lexical: float | None = Field(description="BM25, 0 and more")
    lexical_rank: int | None
    fused: float = Field(description="The mean of both arms, 0 to 1, before its neighbours had their say")
    rerank: float | None = Field(description="As the reranking model gave it")


class Span(_Part):
    """Where a piece is: characters of the document's text, and the page if it has pages."""

    page: int | None
    start: int
    end: int
    part: int = Field(description="The piece's number in the document, from 0")
    heading: list[str] = Field(description="The document's title and the headings above the piece")


class InspectedHit(_Part):
    rank: int
    returned: bool = Field(
        description="Whether the search answers it: within topK and not below the threshold"
    )
    score: float = Field(description="0 to 1, what hits are ordered by")
    scores: Scores
    document_id: str
    document_name: str
    source: str
    span: Span
    text: str
    shared_terms: list[str] = Field(description="Terms of the query that the piece holds")
    link: str


class Inspection(_Part):
    """How the result of a search came about."""

    query: str
    truncated: bool
    mode: str
    terms: list[str] = Field(description="What the lexical arm looked for: stems without stop words")
    embedding_model: str
    dimensions: int
    generation: int = Field(description="Which of the collection's indices was searched")
    store: str
    dense_found: int
    lexical_found: int
    found_by_both: int
    milliseconds: dict[str, float] = Field(description="Where the time went")
    hits: list[InspectedHit]


def similarity_search(found: Found, *, with_score: bool) -> SimilaritySearchAnswer:
    return SimilaritySearchAnswer(
        docs=[
            UpstreamHit(
                Document=UpstreamDocument(
                    page_content=each.hit.chunk.text, metadata=_metadata(found, each, with_score=with_score)
                )
            )
            for each in found.hits
        ],
        query=found.query,
        truncated=found.truncated,
    )


def inspection(found: Found, mode: str, shown: int) -> Inspection:
    """The best `shown` of all candidates, those among them that are no hits too."""
    # Here, because only the inspector needs the stemmer itself.
    from lisa.rag.vectors.analysis import words, words_of

    terms = list(dict.fromkeys(words(found.query)))
    returned = {_place(each) for each in found.hits}
    hits = []
    for rank, each in enumerate(found.candidates[:shown], 1):
        held = set(words_of(each.hit.chunk))
        hits.append(
            InspectedHit(
                rank=rank,
                returned=_place(each) in returned,
                score=each.score,
                scores=scores(each),
                document_id=each.hit.document.id,
                document_name=each.hit.document.name,
                source=each.hit.document.source,
                span=span(each.hit.chunk),
                text=each.hit.chunk.text,
                shared_terms=[term for term in terms if term in held],
                link=link(found, each.hit.document),
            )
        )
    dense = {_place(each) for each in found.candidates if each.dense_rank is not None}
    lexical = {_place(each) for each in found.candidates if each.lexical_rank is not None}
    return Inspection(
        query=found.query,
        truncated=found.truncated,
        mode=mode,
        terms=terms,
        embedding_model=found.collection.embedding_model,
        dimensions=found.collection.dimensions,
        generation=found.collection.generation,
        store=str(found.repository.type),
        dense_found=len(dense),
        lexical_found=len(lexical),
        found_by_both=len(dense & lexical),
        milliseconds=dict(found.milliseconds),
        hits=hits,
    )


def gateway_body(found: Found) -> dict[str, Any]:
    """What the gateway is answered (lisa.rag.wire)."""
    return {
        "hits": [
            {
                "documentId": each.hit.document.id,
                "documentName": each.hit.document.name,
                "source": each.hit.document.source,
                "owner": each.hit.document.owner,
                "mediaType": each.hit.document.media_type,
                "tags": list(each.hit.document.tags),
                "attributes": dict(each.hit.document.attributes),
                "text": each.hit.chunk.text,
                "score": each.score,
                "scores": scores(each).model_dump(by_alias=True),
                **span(each.hit.chunk).model_dump(by_alias=True),
                "link": link(found, each.hit.document),
            }
            for each in found.hits
        ],
        "query": found.query,
        "truncated": found.truncated,
    }


def gateway_chunks(chunks: list[Chunk]) -> dict[str, Any]:
    return {
        "chunks": [
            {
                "ordinal": chunk.ordinal,
                "text": chunk.text,
                "start": chunk.start,
                "end": chunk.end,
                "page": chunk.page,
                "heading": list(chunk.heading),
            }
            for chunk in chunks
        ]
    }


def scores(each: Candidate) -> Scores:
    return Scores(
        dense=each.dense,
        dense_rank=each.dense_rank,
        lexical=each.lexical,
        lexical_rank=each.lexical_rank,
        fused=each.fused,
        rerank=each.rerank,
    )


def span(chunk: Chunk) -> Span:
    return Span(
        page=chunk.page, start=chunk.start, end=chunk.end, part=chunk.ordinal, heading=list(chunk.heading)
    )


def link(found: Found, document: StoredDocument) -> str:
    """The route that answers a signed address of the document's file, good for five minutes."""
    return f"/api/repository/{quote(found.repository.id, safe='')}/{quote(document.id, safe='')}/download"


def _metadata(found: Found, each: Candidate, *, with_score: bool) -> dict[str, Any]:
    document, chunk = each.hit.document, each.hit.chunk
    own: Mapping[str, Attribute] = document.attributes
    # Ours come last: no attribute of a document can pass for its source or owner.
    metadata: dict[str, Any] = dict(own) | {
        "source": document.source,
        "name": document.name,
        "document_id": document.id,
        "repositoryId": found.repository.id,
        "collectionId": found.collection.id,
        "tags": list(document.tags),
        "part": chunk.ordinal,
        "page": chunk.page,
        "start": chunk.start,
        "end": chunk.end,
        "heading": list(chunk.heading),
        "link": link(found, document),
    }
    if with_score:
        metadata["similarity_score"] = each.score
        metadata["scores"] = scores(each).model_dump(by_alias=True)
    return metadata


def _place(each: Candidate) -> tuple[str, int]:
    return each.hit.document.id, each.hit.chunk.ordinal
