"""`/api/repository/{repositoryId}/collection`: sets of documents that are cut and embedded alike."""

from http import HTTPStatus
from typing import Annotated
from urllib.parse import unquote

from aws_lambda_powertools.event_handler import Response, content_types
from aws_lambda_powertools.event_handler.openapi.params import Body, Query
from lisa import aws
from lisa.api.resolver import api_handler, api_resolver, caller, created
from lisa.models.store import ModelStore
from lisa.rag.documents.schema import JobItem, job_item
from lisa.rag.documents.stores import Stores
from lisa.rag.ingestion.wiring import reindexing
from lisa.rag.repositories.collections import CollectionService
from lisa.rag.repositories.embedding_models import EmbeddingModels, Gateway
from lisa.rag.repositories.schema import (
    CollectionAnswer,
    CollectionDeletion,
    CollectionQuery,
    CollectionsAnswer,
    CreateCollection,
    ReindexCollection,
    UpdateCollection,
)
from lisa.rag.repositories.store import RepositoryStore
from lisa.settings import Settings

settings = Settings.from_environment()
collections = CollectionService(
    RepositoryStore(settings.repositories_table, aws.dynamodb()),
    EmbeddingModels(ModelStore(settings.models_table, aws.dynamodb()), Gateway()),
    Stores.of(settings.documents_table, aws.dynamodb()),
    settings.documents_bucket,
)
anew = reindexing(settings)
app = api_resolver()


@app.get("/api/repository/collections", summary="The collections that you see", tags=["Collections"])
def list_visible_collections(query: Annotated[CollectionQuery, Query()]) -> CollectionsAnswer:
    return collections.visible(caller(app), query)


# Upstream's server and its client differ in the word.
@app.get(
    "/api/repository/<repository_id>/collection",
    summary="The collections of a repository that you see",
    tags=["Collections"],
)
@app.get(
    "/api/repository/<repository_id>/collections",
    summary="The collections of a repository that you see",
    tags=["Collections"],
)
def list_collections(repository_id: str, query: Annotated[CollectionQuery, Query()]) -> CollectionsAnswer:
    return collections.visible(caller(app), query, repository_id=repository_id)


@app.post(
    "/api/repository/<repository_id>/collection",
    summary="Create a collection: yours, where you are no administrator of retrieval",
    tags=["Collections"],
)
def create_collection(
    repository_id: str, body: Annotated[CreateCollection, Body()]
) -> Response[CollectionAnswer]:
    collection = collections.create(caller(app), repository_id, body)
    created(app, collection.collection_id)
    return Response(HTTPStatus.CREATED, content_types.APPLICATION_JSON, collection)


@app.get(
    "/api/repository/<repository_id>/collection/<collection_id>",
    summary="A collection by its id or name; the repository's embedding model stands for its default one",
    tags=["Collections"],
)
def get_collection(repository_id: str, collection_id: str) -> CollectionAnswer:
    return collections.get(caller(app), repository_id, unquote(collection_id))


@app.put(
    "/api/repository/<repository_id>/collection/<collection_id>",
    summary="Change a collection",
    tags=["Collections"],
)
def update_collection(
    repository_id: str, collection_id: str, body: Annotated[UpdateCollection, Body()]
) -> CollectionAnswer:
    return collections.update(caller(app), repository_id, unquote(collection_id), body)


@app.delete(
    "/api/repository/<repository_id>/collection/<collection_id>",
    summary="Delete a collection with its documents; of the default collection, the documents",
    tags=["Collections"],
)
def delete_collection(repository_id: str, collection_id: str) -> CollectionDeletion:
    return collections.delete(caller(app), repository_id, unquote(collection_id))


@app.post(
    "/api/repository/<repository_id>/collection/<collection_id>/reindex",
    summary="Cut and embed a collection's documents anew, with another model too; the old index serves meanwhile",
    tags=["Collections"],
)
def reindex_collection(
    repository_id: str, collection_id: str, body: Annotated[ReindexCollection, Body()]
) -> JobItem:
    return job_item(collections.reindex(caller(app), repository_id, unquote(collection_id), body, anew))


handler = api_handler(app)
