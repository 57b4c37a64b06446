"""`/api/limits` and `/api/prices`: who may use how much, and what it costs."""

from typing import Annotated

from aws_lambda_powertools.event_handler.openapi.params import Body, Query
from lisa import aws
from lisa.api.resolver import api_handler, api_resolver, caller
from lisa.limits.counters import CounterStore
from lisa.limits.schema import (
    LimitAnswer,
    LimitsAnswer,
    OwnLimitsAnswer,
    PriceAnswer,
    PricesAnswer,
    PutLimit,
    PutPrice,
)
from lisa.limits.service import LimitService
from lisa.limits.store import LimitStore
from lisa.models.store import ModelStore
from lisa.settings import Settings

settings = Settings.from_environment()
limits = LimitService(
    LimitStore(settings.limits_table, aws.dynamodb()),
    CounterStore(settings.limits_table, aws.dynamodb()),
    ModelStore(settings.models_table, aws.dynamodb()),
)
app = api_resolver()

PageSize = Annotated[int | None, Query(alias="pageSize", description="1-100; without it, 100")]
NextToken = Annotated[str | None, Query(alias="nextToken", description="From the page before")]


@app.get("/api/limits", summary="All limits", tags=["Limits"])
def list_limits(page_size: PageSize = None, next_token: NextToken = None) -> LimitsAnswer:
    found, token = limits.page(page_size=page_size, token=next_token)
    return LimitsAnswer(limits=found, next_token=token)


@app.get("/api/limits/me", summary="Your limits and what is used of them", tags=["Limits"])
def own_limits() -> OwnLimitsAnswer:
    return OwnLimitsAnswer(limits=limits.own(caller(app)))


@app.get("/api/limits/<subject_type>/<subject_id>", summary="A subject's limits", tags=["Limits"])
def get_limit(subject_type: str, subject_id: str) -> LimitAnswer:
    return LimitAnswer(limit=limits.get(subject_type, subject_id))


@app.put("/api/limits/<subject_type>/<subject_id>", summary="Set all limits of a subject", tags=["Limits"])
def put_limit(subject_type: str, subject_id: str, body: Annotated[PutLimit, Body()]) -> LimitAnswer:
    return LimitAnswer(limit=limits.put(caller(app), subject_type, subject_id, body))


@app.delete(
    "/api/limits/<subject_type>/<subject_id>", summary="Lift all limits of a subject", tags=["Limits"]
)
def delete_limit(subject_type: str, subject_id: str) -> LimitAnswer:
    return LimitAnswer(limit=limits.delete(subject_type, subject_id))


@app.get("/api/prices", summary="The prices of models", tags=["Limits"])
def list_prices(page_size: PageSize = None, next_token: NextToken = None) -> PricesAnswer:
    found, token = limits.prices(page_size=page_size, token=next_token)
    return PricesAnswer(prices=found, next_token=token)


@app.put("/api/prices/<model_id>", summary="Set a model's price", tags=["Limits"])
def put_price(model_id: str, body: Annotated[PutPrice, Body()]) -> PriceAnswer:
    return PriceAnswer(price=limits.put_price(caller(app), model_id, body))


@app.delete("/api/prices/<model_id>", summary="Remove a model's price", tags=["Limits"])
def delete_price(model_id: str) -> PriceAnswer:
    return PriceAnswer(price=limits.delete_price(model_id))


handler = api_handler(app)
