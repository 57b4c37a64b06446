"""What a gateway hands over: totals of about a second, in messages that are recorded once each.

A message is as large as one DynamoDB transaction takes, so that it is recorded wholly or not at all.
"""

from dataclasses import dataclass, fields
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Dimension = Literal["user", "group", "model", "token"]

MAX_ROWS = 99  # a transaction takes 100 actions, of which one says that the message has been recorded
MAX_SAMPLES = 100  # as many values as one EMF metric takes
MAX_GROUPS = 50

_Count = Annotated[int, Field(ge=0, le=10**15)]
_Name = Annotated[str, Field(max_length=10_000)]


@dataclass(slots=True)
class Counters:
    """Sums over requests. Times are in milliseconds, cost in millionths of a US dollar.

    `requests` = `succeeded` + `refused` (4xx) + `failed` (5xx) + `left` (the caller did not wait for the end).
    """

    requests: int = 0
    succeeded: int = 0
    refused: int = 0
    failed: int = 0
    left: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated: int = 0  # requests whose tokens had to be estimated
    cost: int = 0
    latency_ms: int = 0
    streams: int = 0  # streams that began, of which `first_token_ms` is the sum
    first_token_ms: int = 0

    def add(self, other: "Counters") -> None:
        for name in COUNTERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))


COUNTERS = tuple(field.name for field in fields(Counters))


class _Part(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)


class Entry(_Part):
    """A total of one hour: of everybody's requests, or of one user's (`of`), `by` user, group, model or token.

    `value` is the user, group, model or token; empty when there was none: nobody had signed in, or no model of
    that name could be used.
    """

    of: _Name | None = None
    by: Dimension
    value: _Name
    hour: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d$", description="UTC")]
    requests: _Count
    succeeded: _Count = 0
    refused: _Count = 0
    failed: _Count = 0
    left: _Count = 0
    prompt_tokens: _Count = 0
    completion_tokens: _Count = 0
    estimated: _Count = 0
    cost: _Count = 0
    latency_ms: _Count = 0
    streams: _Count = 0
    first_token_ms: _Count = 0
    first_at: _Count  # epoch seconds
    last_at: _Count
    # Of users: the groups that they had.
    groups: Annotated[tuple[_Name, ...], Field(max_length=MAX_GROUPS)] = ()
    # Of models: samples for percentiles, in milliseconds.
    latencies: Annotated[tuple[float, ...], Field(max_length=MAX_SAMPLES)] = ()
    first_tokens: Annotated[tuple[float, ...], Field(max_length=MAX_SAMPLES)] = ()

    @property
    def counters(self) -> Counters:
        return Counters(**{name: getattr(self, name) for name in COUNTERS})

    @property
    def rows(self) -> int:
        """How many rows it adds to at most: one of the hour, one of the day, for a user one of all time."""
        return 3 if self.by == "user" else 2


class Message(_Part):
    """`id` is made once: what is sent or delivered again has the same."""

    version: Literal[1] = 1
    id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    entries: Annotated[tuple[Entry, ...], Field(min_length=1, max_length=MAX_ROWS)]

    def encode(self) -> str:
        return self.model_dump_json(by_alias=True, exclude_defaults=True)
