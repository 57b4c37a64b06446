"""What people send and get: limits and prices. Money is in US dollars, exact to a millionth."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel

from lisa.errors import InvalidRequest
from lisa.limits.prices import MILLION, to_dollars, to_micros
from lisa.limits.record import AMOUNTS, Limit, SubjectType

MOST = 10**15  # of requests, tokens or millionths of a dollar: more is a slip of the finger


def _dollars(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError('must be a number of US dollars, such as 12.5 or "12.50"')
    return to_micros(value)


_SHOWN = PlainSerializer(to_dollars, return_type=str, when_used="json")
_MONEY = {"anyOf": [{"type": "string", "pattern": r"^[0-9]{1,9}(\.[0-9]{1,6})?$"}, {"type": "number"}]}
# US dollars outside, millionths of them inside.
Dollars = Annotated[int, BeforeValidator(_dollars), Field(gt=0, le=MOST), _SHOWN]
PriceDollars = Annotated[int, BeforeValidator(_dollars), Field(ge=0, le=MOST), _SHOWN]
Count = Annotated[int, Field(gt=0, le=MOST)]


class _Part(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, strict=True, extra="forbid"
    )


class PutLimit(_Part):
    """All limits of a subject; those that are left out (or null) do not hold for it."""

    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    tokens_per_day: Count | None = None
    tokens_per_month: Count | None = None
    cost_per_day: Annotated[Dollars | None, Field(json_schema_extra=_MONEY, description="US dollars")] = None
    cost_per_month: Annotated[Dollars | None, Field(json_schema_extra=_MONEY, description="US dollars")] = (
        None
    )
    warn_at: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            strict=False,
            description="The share of a day's or month's limit at which an event warns",
        ),
    ] = 0.8

    def amounts(self) -> dict[str, int]:
        """The limits that are given. Raises InvalidRequest when there is none, or when they contradict each other."""
        values = self.model_dump(by_alias=True)
        found = {
            amount.name: int(values[amount.name]) for amount in AMOUNTS if values[amount.name] is not None
        }
        if not found:
            names = ", ".join(amount.name for amount in AMOUNTS)
            raise InvalidRequest(
                f"The body names no limit: give one or more of {names}, or DELETE the limit."
            )
        for shorter, longer in _ORDERED:
            if shorter in found and longer in found and found[shorter] > found[longer]:
                raise InvalidRequest(
                    f"{shorter} must not be above {longer}: it could never be used up. Change one of them.",
                    field=shorter,
                )
        return found


_ORDERED = (
    ("tokensPerMinute", "tokensPerDay"),
    ("tokensPerMinute", "tokensPerMonth"),
    ("tokensPerDay", "tokensPerMonth"),
    ("costPerDay", "costPerMonth"),
)


class LimitView(_Part):
    """A subject's limits. `updatedAt` is in seconds since the epoch."""

    subject_type: SubjectType
    subject_id: str
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_day: int | None = None
    tokens_per_month: int | None = None
    cost_per_day: str | None = Field(default=None, description="US dollars")
    cost_per_month: str | None = Field(default=None, description="US dollars")
    warn_at: float
    updated_at: int
    updated_by: str

    @classmethod
    def of(cls, limit: Limit) -> "LimitView":
        shown = {
            amount.name: to_dollars(value) if amount.quantity == "cost" else value
            for amount in AMOUNTS
            if (value := limit.amounts.get(amount.name)) is not None
        }
        return cls.model_validate(
            {
                "subjectType": limit.subject_type,
                "subjectId": limit.subject_id,
                **shown,
                "warnAt": limit.warn_at / MILLION,
                "updatedAt": limit.updated_at,
                "updatedBy": limit.updated_by,
            }
        )


class LimitAnswer(_Part):
    limit: LimitView


class LimitsAnswer(_Part):
    limits: list[LimitView]
    next_token: str | None = None


class LimitInUse(_Part):
    """A limit of the caller's, and what is used of it now. Money in US dollars, times in epoch seconds."""

    subject_type: SubjectType
    subject_id: str
    limit: str = Field(description="The limit's name, such as tokensPerDay")
    allowed: int | str
    used: int | str
    remaining: int | str
    resets_at: int


class OwnLimitsAnswer(_Part):
    limits: list[LimitInUse]


class PutPrice(_Part):
    """What a million tokens cost, in US dollars."""

    prompt_per_million: Annotated[PriceDollars, Field(json_schema_extra=_MONEY)]
    completion_per_million: Annotated[PriceDollars, Field(json_schema_extra=_MONEY)]


class PriceView(_Part):
    """A model's price in US dollars a million tokens."""

    model_id: str
    prompt_per_million: str
    completion_per_million: str
    updated_at: int
    updated_by: str


class PriceAnswer(_Part):
    price: PriceView


class PricesAnswer(_Part):
    prices: list[PriceView]
    next_token: str | None = None
