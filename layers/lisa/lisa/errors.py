"""The errors that people meet, mapped to HTTP once, at the door. Messages say what was wrong and what to do."""

from typing import ClassVar


class LisaError(Exception):
    """An error with an HTTP status and a code that programs can rely on.

    `field` names the part of the request that was wrong; `retry_after` is in seconds.
    """

    default_code: ClassVar[str] = "internal_error"
    default_status: ClassVar[int] = 500

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        status: int | None = None,
        field: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.status = status or self.default_status
        self.field = field
        self.retry_after = retry_after


class InvalidRequest(LisaError):
    """The request is wrong; sending it again will not help."""

    default_code, default_status = "invalid_request", 400


class Unauthenticated(LisaError):
    """Who is calling is not known."""

    default_code, default_status = "unauthenticated", 401


class Forbidden(LisaError):
    """The caller is known and may not do this."""

    default_code, default_status = "forbidden", 403


class NotFound(LisaError):
    """It does not exist, or not for this caller."""

    default_code, default_status = "not_found", 404


class Conflict(LisaError):
    """It contradicts what is already there."""

    default_code, default_status = "conflict", 409


class PayloadTooLarge(LisaError):
    """The body is over the limit."""

    default_code, default_status = "payload_too_large", 413


class RateLimited(LisaError):
    """Too much, too fast."""

    default_code, default_status = "rate_limit_exceeded", 429


class Unavailable(LisaError):
    """Something behind us is not there now; later it may be."""

    default_code, default_status = "unavailable", 503
