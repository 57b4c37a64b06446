"""`/api/models`: people say which models they want, and see what has become of it."""

from http import HTTPStatus
from typing import Annotated

from aws_lambda_powertools.event_handler import Response, content_types
from aws_lambda_powertools.event_handler.openapi.params import Body, Query
from lisa import aws
from lisa.api.resolver import api_handler, api_resolver, caller, created
from lisa.models.schema import CreateModel, ModelAnswer, ModelsAnswer
from lisa.models.secrets import ProviderKeys
from lisa.models.service import ModelService
from lisa.models.store import ModelStore
from lisa.rag.repositories.store import RepositoryStore
from lisa.settings import Settings

settings = Settings.from_environment()
models = ModelService(
    settings,
    ModelStore(settings.models_table, aws.dynamodb()),
    ProviderKeys(settings.deployment, aws.secrets_manager()),
    used_by=RepositoryStore(settings.repositories_table, aws.dynamodb()).user_of_model,
)
app = api_resolver()


@app.get("/api/models", summary="The models that you may use", tags=["Models"])
def list_models(
    page_size: Annotated[int | None, Query(alias="pageSize", description="1-100; without it, all")] = None,
    next_token: Annotated[str | None, Query(alias="nextToken", description="From the page before")] = None,
) -> ModelsAnswer:
    found, token = models.list(caller(app), page_size=page_size, token=next_token)
    return ModelsAnswer(models=found, next_token=token)


@app.post("/api/models", summary="Create a model", tags=["Models"])
def create_model(body: Annotated[CreateModel, Body()]) -> Response[ModelAnswer]:
    model = models.create(caller(app), body)
    created(app, model.model_id)
    return Response(HTTPStatus.CREATED, content_types.APPLICATION_JSON, ModelAnswer(model=model))


@app.get("/api/models/<model_id>", summary="A model and what has become of it", tags=["Models"])
def get_model(model_id: str) -> ModelAnswer:
    return ModelAnswer(model=models.get(caller(app), model_id))


@app.delete("/api/models/<model_id>", summary="Delete a model and all that was built for it", tags=["Models"])
def delete_model(model_id: str) -> ModelAnswer:
    return ModelAnswer(model=models.delete(model_id))


handler = api_handler(app)
