"""`/api/audit`: administrators see who did what."""

from typing import Annotated

from aws_lambda_powertools.event_handler.openapi.params import Query
from lisa import aws
from lisa.api.resolver import api_handler, api_resolver
from lisa.audit.schema import AuditAnswer
from lisa.audit.service import AuditLog
from lisa.audit.store import AuditStore
from lisa.settings import Settings

settings = Settings.from_environment()
log = AuditLog(AuditStore(settings.audit_table, aws.dynamodb()), retention_days=settings.audit_retention_days)
app = api_resolver()

From = Annotated[str | None, Query(alias="from", description="ISO 8601; else as far back as events are kept")]
To = Annotated[str | None, Query(alias="to", description="ISO 8601, not included; else now")]
User = Annotated[str | None, Query(alias="user", description="Who did it")]
Route = Annotated[
    str | None, Query(alias="route", description="As `DELETE /api/models/{modelId}`, or `sign-in`")
]
Size = Annotated[int | None, Query(alias="pageSize", description="1-100; without it, 50")]
Next = Annotated[str | None, Query(alias="nextToken", description="From the page before")]


@app.get("/api/audit", summary="Who did what, the newest first", tags=["Audit"])
def find_events(
    first: From = None,
    last: To = None,
    user: User = None,
    route: Route = None,
    page_size: Size = None,
    next_token: Next = None,
) -> AuditAnswer:
    return log.find(first=first, last=last, user=user, action=route, page_size=page_size, token=next_token)


handler = api_handler(app)
