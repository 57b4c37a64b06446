"""Audit events as administrators read them."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class _Part(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")


class AuditActor(_Part):
    user: str = Field(description="Empty when a token was refused")
    token_id: str = Field(description="The API token's id, empty for a sign-in")
    kind: Literal["sign-in", "api-token", "anonymous"]


class AuditObject(_Part):
    type: str
    id: str


class AuditOutcome(_Part):
    result: Literal["success", "denied", "failed"]
    status: int = Field(description="The answer's HTTP status; 0 for a sign-in")
    error: str = Field(description="The error's code, or why a token was refused")


class AuditRecord(_Part):
    id: str
    time: str = Field(description="UTC, ISO 8601", pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
    action: str = Field(description="A method and a route, or `sign-in`")
    actor: AuditActor
    object: AuditObject
    outcome: AuditOutcome
    door: Literal["api", "gateway"]
    request_id: str
    source_ip: str
    user_agent: str


class AuditAnswer(_Part):
    events: list[AuditRecord] = Field(description="The newest first")
    next_token: str | None = Field(description="For the next page; null at the end")
