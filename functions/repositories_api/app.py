"""`/api/repository`: where documents are kept, and what has become of it."""

from http import HTTPStatus
from typing import Annotated

from aws_lambda_powertools.event_handler import Response, content_types
from aws_lambda_powertools.event_handler.openapi.params import Body, Query
from lisa import aws
from lisa.api.resolver import api_handler, api_resolver, caller, created
from lisa.models.store import ModelStore
from lisa.paging import page_of
from lisa.rag.repositories.embedding_models import EmbeddingModels, Gateway
from lisa.rag.repositories.schema import (
    CreateRepository,
    RepositoryAnswer,
    RepositoryDeletion,
    UpdateRepository,
)
from lisa.rag.repositories.service import RepositoryService
from lisa.rag.repositories.store import RepositoryStore
from lisa.settings import Settings

settings = Settings.from_environment()
repositories = RepositoryService(
    RepositoryStore(settings.repositories_table, aws.dynamodb()),
    EmbeddingModels(ModelStore(settings.models_table, aws.dynamodb()), Gateway()),
    settings.documents_bucket,
)
app = api_resolver()


@app.get("/api/repository", summary="The repositories that you see", tags=["Repositories"])
def list_repositories(
    page_size: Annotated[int | None, Query(alias="pageSize", description="1-100; without it, all")] = None,
    next_token: Annotated[
        str | None, Query(alias="nextToken", description="From the page before: its header x-next-token")
    ] = None,
) -> Response[list[RepositoryAnswer]]:
    found, token = page_of(
        repositories.visible(caller(app)), lambda each: each.repository_id, size=page_size, token=next_token
    )
    headers = {"x-next-token": token} if token else {}
    return Response(HTTPStatus.OK, content_types.APPLICATION_JSON, found, headers=dict(headers))


@app.post("/api/repository", summary="Create a repository", tags=["Repositories"])
def create_repository(body: Annotated[CreateRepository, Body()]) -> Response[RepositoryAnswer]:
    repository = repositories.create(caller(app), body)
    created(app, repository.repository_id)
    return Response(HTTPStatus.CREATED, content_types.APPLICATION_JSON, repository)


@app.get("/api/repository/<repository_id>", summary="A repository and its status", tags=["Repositories"])
def get_repository(repository_id: str) -> RepositoryAnswer:
    return repositories.get(caller(app), repository_id)


@app.put(
    "/api/repository/<repository_id>",
    summary="Change a repository; administrators of retrieval its pipelines only",
    tags=["Repositories"],
)
def update_repository(repository_id: str, body: Annotated[UpdateRepository, Body()]) -> RepositoryAnswer:
    return repositories.update(caller(app), repository_id, body)


@app.delete(
    "/api/repository/<repository_id>",
    summary="Delete a repository with its collections and documents",
    tags=["Repositories"],
)
def delete_repository(repository_id: str) -> RepositoryDeletion:
    return repositories.delete(repository_id)


handler = api_handler(app)
