"""`/api/metrics`: what people have used; everybody sees their own, administrators see all."""

from http import HTTPStatus
from typing import Annotated, Any, Literal
from urllib.parse import unquote

from aws_lambda_powertools.event_handler import Response, content_types
from aws_lambda_powertools.event_handler.openapi.params import Query
from lisa import aws
from lisa.api.resolver import api_handler, api_resolver, caller
from lisa.settings import Settings
from lisa.usage.reports import Asked, UsageReports
from lisa.usage.schema import AllMetricsAnswer, GroupBy, Report, UserMetricsAnswer
from lisa.usage.store import UsageStore
from lisa.usage.table import as_csv

settings = Settings.from_environment()
reports = UsageReports(UsageStore(settings.usage_table, aws.dynamodb()))
app = api_resolver()

From = Annotated[
    str | None, Query(alias="from", description="The first day, as 2026-11-27; else 30 days before `to`")
]
To = Annotated[str | None, Query(alias="to", description="The last day; else today (UTC)")]
Step = Annotated[Literal["hour", "day"], Query(alias="granularity", description="Hours are kept for 90 days")]
By = Annotated[GroupBy, Query(alias="groupBy", description="What there is a row for in each hour or day")]
Format = Annotated[
    Literal["json", "csv"] | None, Query(alias="format", description="Or ask by `Accept: text/csv`")
]


def _answers(model: type) -> dict[int, Any]:
    """For the documentation: the same figures come in two forms."""
    forms = {"application/json": {"model": model}, "text/csv": {"schema": {"type": "string"}}}
    return {200: {"description": "The figures", "content": forms}}


@app.get(
    "/api/metrics/users/all",
    summary="What everybody has used",
    tags=["Metrics"],
    responses=_answers(AllMetricsAnswer),
)
def metrics_of_all(
    first: From = None, last: To = None, step: Step = "day", by: By = "model", form: Format = None
) -> Response[AllMetricsAnswer | str]:
    found = reports.of_all(Asked(first, last, step, by))
    if _wants_csv(form):
        return _csv(found.usage)
    return Response(HTTPStatus.OK, content_types.APPLICATION_JSON, AllMetricsAnswer(body=found))


@app.get(
    "/api/metrics/users/<user_id>",
    summary="What a user has used",
    tags=["Metrics"],
    responses=_answers(UserMetricsAnswer),
)
def metrics_of_user(
    user_id: str,
    first: From = None,
    last: To = None,
    step: Step = "day",
    by: By = "model",
    form: Format = None,
) -> Response[UserMetricsAnswer | str]:
    who = caller(app)
    user = user_id if user_id == who.user else unquote(user_id)
    found = reports.of_user(who, user, Asked(first, last, step, by))
    if _wants_csv(form):
        return _csv(found.usage)
    return Response(HTTPStatus.OK, content_types.APPLICATION_JSON, UserMetricsAnswer(body={user: found}))


def _wants_csv(form: str | None) -> bool:
    if form is None:
        accept = app.current_event.headers.get("Accept") or ""
        return accept.split(";")[0].split(",")[0].strip().lower() == "text/csv"
    return form == "csv"


def _csv(report: Report) -> Response:
    name = f"usage-{report.first_day}-{report.last_day}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(HTTPStatus.OK, "text/csv; charset=utf-8", as_csv(report), headers=headers)


handler = api_handler(app)
