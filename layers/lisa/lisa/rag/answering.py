"""What functions that the gateway calls have in common (lisa.rag.wire)."""

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from lisa.errors import InvalidRequest, LisaError
from lisa.observability import logger
from lisa.rag.wire import refusal


def answered(work: Callable[[], tuple[int, Any]], **said: str) -> dict[str, Any]:
    """The answer to a call. Errors that people meet are part of it; others are logged, and answered as one of them.

    `said` goes into the one log line of the call.
    """
    try:
        status, body = work()
        answer: dict[str, Any] = {"status": status, "body": body}
    except LisaError as error:
        answer = refusal(error)
    except ValidationError as error:
        answer = refusal(_named(error))
    except Exception:
        logger.exception("unexpected error", extra=said)
        answer = refusal(
            LisaError(
                "Something went wrong on our side. Try again; if it stays, tell the operator the request id."
            )
        )
    logger.info("call", extra=said | {"status": answer["status"]})
    return answer


def _named(error: ValidationError) -> InvalidRequest:
    """The first finding in words, with the field's name; never the value itself."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"]) or None
    text = str(first["msg"]).removeprefix("Value error, ")
    return InvalidRequest(f"{field}: {text}" if field else f"The body: {text}", field=field)
