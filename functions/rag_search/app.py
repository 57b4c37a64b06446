"""Search in collections: for people by the REST API, and for the gateway, which invokes this function."""

from functools import lru_cache
from typing import Annotated, Any
from urllib.parse import unquote

from aws_lambda_powertools.event_handler.openapi.params import Query
from lisa.api.resolver import api_handler, api_resolver, caller
from lisa.rag.answering import answered
from lisa.rag.search import schema
from lisa.rag.search.asking import GatewayChunks, GatewaySearch, SearchQuery
from lisa.rag.search.service import SearchService
from lisa.rag.search.wiring import service
from lisa.rag.vectors.connect import close_stores
from lisa.rag.wire import principal_of
from lisa.settings import Settings

settings = Settings.from_environment()
app = api_resolver()


@lru_cache(maxsize=1)
def searching() -> SearchService:
    return service(settings)


@app.get(
    "/api/repository/<repository_id>/similaritySearch",
    summary="Find pieces of documents in a collection",
    tags=["Search"],
)
def similarity_search(
    repository_id: str, asked: Annotated[SearchQuery, Query()]
) -> schema.SimilaritySearchAnswer:
    found = searching().search(caller(app), asked.request(unquote(repository_id)))
    return schema.similarity_search(found, with_score=asked.score)


@app.get(
    "/api/repository/<repository_id>/similaritySearch/inspect",
    summary="How the result of a search comes about: what each arm found, scores, terms, time",
    tags=["Search"],
)
def inspect_search(repository_id: str, asked: Annotated[SearchQuery, Query()]) -> schema.Inspection:
    found = searching().search(caller(app), asked.request(unquote(repository_id)))
    return schema.inspection(found, asked.mode, asked.shown)


rest = api_handler(app)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A call of API Gateway's, or one of the gateway's (lisa.rag.wire): may invoke this function who vouches for it."""
    try:
        if "requestContext" in event:
            return rest(event, context)
        return answered(lambda: (200, _for_gateway(event)), operation=str(event.get("operation", "search")))
    finally:
        # A database that nobody is connected to may sleep; on one machine there is none that does.
        if settings.stage != "local":
            close_stores()


def _for_gateway(event: dict[str, Any]) -> dict[str, Any]:
    principal = principal_of(event["principal"])
    if event.get("operation") == "chunks":
        asked = GatewayChunks.model_validate(event)
        found = searching().chunks(
            principal,
            asked.repository_id,
            asked.collection_id,
            asked.document_id,
            after=asked.after,
            limit=asked.limit,
        )
        return schema.gateway_chunks(found)
    request = GatewaySearch.model_validate(event).request()
    return schema.gateway_body(searching().search(principal, request))
