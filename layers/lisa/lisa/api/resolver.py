"""The resolver of a function behind the REST API: one policy, one shape of errors, one log line a call."""

import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response, content_types
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.event_handler.middlewares import NextMiddleware
from aws_lambda_powertools.event_handler.openapi.exceptions import RequestValidationError

from lisa.api.caller import from_context
from lisa.errors import InvalidRequest, LisaError, NotFound, PayloadTooLarge
from lisa.identity.policy import authorize, rule_for
from lisa.identity.principal import Principal
from lisa.observability import logger, tracer

MAX_BODY_BYTES = 1024 * 1024


def api_resolver() -> APIGatewayRestResolver:
    """A resolver whose every call has passed the policy table and whose every error has the one shape."""
    app = APIGatewayRestResolver(enable_validation=True)
    app.use(middlewares=[_admit])
    app.exception_handler(LisaError)(lambda error: _answer(app, error))
    app.exception_handler(RequestValidationError)(lambda error: _answer(app, _named(error)))
    app.exception_handler(NotFoundError)(lambda error: _answer(app, NotFound("There is no such route.")))
    app.exception_handler(Exception)(lambda error: _unexpected(app, error))
    return app


def api_handler(app: APIGatewayRestResolver) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    """The Lambda handler for a resolver."""

    @tracer.capture_lambda_handler(capture_response=False)
    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        request = event["requestContext"]
        _speak_json(event)
        answer: dict[str, Any] = app.resolve(event, context)
        logger.info(
            "call",
            extra={
                "requestId": request.get("requestId"),
                "method": event.get("httpMethod"),
                "route": event.get("resource"),
                "status": answer["statusCode"],
                "user": (request.get("authorizer") or {}).get("user"),
            },
        )
        return answer

    traced: Callable[[dict[str, Any], Any], dict[str, Any]] = handler
    return traced


def caller(app: APIGatewayRestResolver) -> Principal:
    return from_context(app.current_event.request_context.get("authorizer") or {})


def _admit(app: APIGatewayRestResolver, next_middleware: NextMiddleware) -> Response[Any]:
    event = app.current_event
    context = event.request_context.get("authorizer") or {}
    principal = from_context(context) if context.get("user") else None
    authorize(rule_for("api", event.http_method, event.path), principal)
    try:
        body = event.decoded_body or ""  # some media types come in base64
    except ValueError:
        raise InvalidRequest("The body is not text in UTF-8.") from None
    if len(body.encode()) > MAX_BODY_BYTES:
        raise PayloadTooLarge(f"The body is over {MAX_BODY_BYTES} bytes.")
    if "\x00" in body or "\\u0000" in body:
        raise InvalidRequest("The body holds a null character: leave it out.")
    return next_middleware(app)


def _speak_json(event: dict[str, Any]) -> None:
    """Bodies are JSON, whatever a client without the right header calls them (curl says it is a form)."""
    headers = {
        name: value for name, value in (event.get("headers") or {}).items() if name.lower() != "content-type"
    }
    event["headers"] = headers | {"Content-Type": content_types.APPLICATION_JSON}
    event["multiValueHeaders"] = {
        name: value
        for name, value in (event.get("multiValueHeaders") or {}).items()
        if name.lower() != "content-type"
    } | {"Content-Type": [content_types.APPLICATION_JSON]}


def _named(error: RequestValidationError) -> InvalidRequest:
    """The first finding, in words, with the field's name; never the value itself, which may be a secret."""
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return InvalidRequest("The body is not JSON: check its quotes, commas and brackets.")
    place = [str(part) for part in first["loc"] if part not in ("body", "query", "path", "header")]
    field = ".".join(place) or None
    text = str(first["msg"]).removeprefix("Value error, ")
    return InvalidRequest(f"{field}: {text}" if field else f"The body: {text}", field=field)


def _answer(app: APIGatewayRestResolver, error: LisaError) -> Response[str]:
    body: dict[str, Any] = {"message": error.message, "code": error.code}
    if error.field is not None:
        body["field"] = error.field
    body["requestId"] = app.current_event.request_context.request_id
    headers: dict[str, str | list[str]] = {"Cache-Control": "no-store"}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    return Response(
        status_code=error.status,
        content_type=content_types.APPLICATION_JSON,
        body=json.dumps(body),
        headers=headers,
    )


def _unexpected(app: APIGatewayRestResolver, error: Exception) -> Response[str]:
    logger.exception("unexpected error", extra={"requestId": app.current_event.request_context.request_id})
    return _answer(
        app,
        LisaError(
            "Something went wrong on our side. Try again; if it stays, tell the operator the request id.",
            status=HTTPStatus.INTERNAL_SERVER_ERROR,
        ),
    )
