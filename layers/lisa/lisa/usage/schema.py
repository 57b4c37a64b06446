"""What `/api/metrics` answers."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

GroupBy = Literal["user", "group", "model", "token", "day"]


class _Part(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class Used(_Part):
    """Sums over requests. requests = succeeded + refused + failed + left."""

    requests: int
    succeeded: int
    refused: Annotated[int, Field(description="Answered with 4xx")]
    failed: Annotated[int, Field(description="Answered with 5xx")]
    left: Annotated[int, Field(description="The caller did not wait for the end")]
    prompt_tokens: int
    completion_tokens: int
    estimated: Annotated[
        int, Field(description="Requests whose tokens are an estimate: the answer had no end")
    ]
    cost: Annotated[float, Field(description="US dollars, to the millionth")]
    latency_ms: Annotated[float, Field(description="Mean time to the end of an answer")]
    first_token_ms: Annotated[float | None, Field(description="Mean time to the first token, of streams")]


class UsedRow(Used):
    """A period, and who or what used it; empty for requests without one, such as those of nobody signed in."""

    period: Annotated[str, Field(description="A day or hour in UTC: 2026-11-27 or 2026-11-27T14")]
    value: Annotated[str, Field(description="The user, group, model or token; empty when grouped by day")]


class Report(_Part):
    """What was used from the first day to the last, both included."""

    first_day: Annotated[str, Field(alias="from")]
    last_day: Annotated[str, Field(alias="to")]
    granularity: Literal["hour", "day"]
    group_by: GroupBy
    totals: Used
    rows: list[UsedRow]


class UserMetrics(_Part):
    """What a user has used ever, and `usage` in the days asked for."""

    total_prompts: Annotated[int, Field(description="Requests that were not refused and did not fail")]
    rag_usage_count: int = 0
    mcp_tool_calls_count: int = 0
    mcp_tool_usage: dict[str, int] = {}
    user_groups: list[str] = []
    session_metrics: dict[str, int] = {}
    first_seen: Annotated[str | None, Field(description="ISO 8601")] = None
    last_seen: Annotated[str | None, Field(description="ISO 8601")] = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: Annotated[float, Field(description="US dollars, to the millionth")] = 0
    usage: Report


class AllMetrics(_Part):
    """What all users have used ever, and `usage` in the days asked for."""

    total_unique_users: int
    total_prompts: int
    total_rag_usage: int = 0
    rag_usage_percentage: float = 0
    total_mcp_tool_calls: Annotated[int, Field(alias="totalMCPToolCalls")] = 0
    mcp_tool_calls_percentage: float = 0
    mcp_tool_usage: dict[str, int] = {}
    user_groups: Annotated[dict[str, int], Field(description="How many users each group has")]
    prompt_tokens: int
    completion_tokens: int
    cost: Annotated[float, Field(description="US dollars, to the millionth")]
    usage: Report


class UserMetricsAnswer(_Part):
    """The body is an object with one field, named as the user."""

    status_code: Literal[200] = 200
    body: dict[str, UserMetrics]


class AllMetricsAnswer(_Part):
    status_code: Literal[200] = 200
    body: AllMetrics
