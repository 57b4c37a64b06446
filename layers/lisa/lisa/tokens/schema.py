"""What people send and get at `/api/api-tokens`; the names of the fields are upstream's. Times are epoch seconds."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from lisa.tokens.record import ApiToken

TokenName = Annotated[
    str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]*\S[^\x00-\x1f\x7f]*$")
]
GroupName = Annotated[str, StringConstraints(min_length=1, max_length=128)]


def _upstream(name: str) -> str:
    return to_camel(name).replace("Uuid", "UUID")


class _Part(BaseModel):
    # Unknown fields are ignored: upstream's clients send more than is used.
    model_config = ConfigDict(
        alias_generator=_upstream, validate_by_name=True, validate_by_alias=True, strict=True, extra="ignore"
    )


class CreateToken(_Part):
    """Everything but the name may be left out."""

    name: TokenName = Field(description="Yours to choose; unique among the user's tokens")
    token_expiration: int | None = Field(default=None, description="Epoch seconds; without it, in 90 days")
    groups: Annotated[list[GroupName], Field(max_length=100)] | None = Field(
        default=None,
        description="What the token may do: groups of its creator; without them, all of the creator's",
    )
    is_system_token: bool = Field(
        default=False,
        description="For a program rather than a person; administrators alone",
    )


class TokenInfo(_Part):
    """A token without its secret, which nobody can read again."""

    token_uuid: str
    token_expiration: int
    created_date: int
    username: str
    created_by: str
    name: str
    groups: list[str]
    is_system_token: bool
    is_expired: bool
    is_legacy: bool = False
    last_used: int | None = Field(default=None, description="To the hour; null if never")


class CreatedToken(_Part):
    """The only answer that holds the secret."""

    token: str
    token_uuid: str
    token_expiration: int
    created_date: int
    username: str
    name: str
    groups: list[str]
    is_system_token: bool


class TokensAnswer(_Part):
    tokens: list[TokenInfo]
    next_token: str | None = None


class RevokedToken(_Part):
    message: str
    token_uuid: str


def info(token: ApiToken, *, now: float, last_used: int | None) -> TokenInfo:
    return TokenInfo(
        token_uuid=token.uuid,
        token_expiration=token.expires_at,
        created_date=token.created_at,
        username=token.user,
        created_by=token.created_by,
        name=token.name,
        groups=list(token.groups),
        is_system_token=token.is_system,
        is_expired=token.expires_at <= now,
        last_used=last_used,
    )


def created(token: ApiToken, secret: str) -> CreatedToken:
    return CreatedToken(
        token=secret,
        token_uuid=token.uuid,
        token_expiration=token.expires_at,
        created_date=token.created_at,
        username=token.user,
        name=token.name,
        groups=list(token.groups),
        is_system_token=token.is_system,
    )
