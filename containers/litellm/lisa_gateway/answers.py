"""The shapes of errors: OpenAI's everywhere, Anthropic's on its own routes."""

from enum import StrEnum
from typing import Any

import orjson
from lisa.errors import LisaError

from lisa_gateway.http.exchange import Exchange, header_line

JSON = b"content-type: application/json\r\n"


class Dialect(StrEnum):
    OPENAI = "openai"
    ANTHROPIC = "anthropic"


_OPENAI_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}
_ANTHROPIC_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}
# What OpenAI's clients know by other names than our management API.
_OPENAI_CODES = {"unauthenticated": "invalid_api_key", "rate_limited": "rate_limit_exceeded"}


def openai_type(status: int) -> str:
    return _OPENAI_TYPES.get(status) or ("server_error" if status >= 500 else "invalid_request_error")


def error_document(error: LisaError, dialect: Dialect, request_id: str) -> dict[str, Any]:
    if dialect is Dialect.ANTHROPIC:
        kind = _ANTHROPIC_TYPES.get(error.status) or (
            "api_error" if error.status >= 500 else "invalid_request_error"
        )
        return {
            "type": "error",
            "error": {"type": kind, "message": error.message},
            "request_id": request_id,
        }
    return {
        "error": {
            "message": error.message,
            "type": openai_type(error.status),
            "param": error.field,
            "code": _OPENAI_CODES.get(error.code, error.code),
        }
    }


def send_error(exchange: Exchange, error: LisaError, dialect: Dialect) -> None:
    headers = JSON
    if error.retry_after is not None:
        headers += header_line("retry-after", error.retry_after)
    if error.status == 401:
        headers += b"www-authenticate: Bearer\r\n"
    exchange.error = error.code
    document = error_document(error, dialect, exchange.request_id.decode())
    exchange.reply(error.status, headers, orjson.dumps(document))


def error_event(error: LisaError, dialect: Dialect, request_id: str) -> bytes:
    """An error inside a stream that has begun: the status can no longer say it."""
    body = orjson.dumps(error_document(error, dialect, request_id))
    return (b"event: error\n" if dialect is Dialect.ANTHROPIC else b"") + b"data: " + body + b"\n\n"


def send_json(exchange: Exchange, document: Any, status: int = 200) -> None:
    exchange.reply(status, JSON, orjson.dumps(document))
