"""The resolver of a function behind the REST API: one policy, one shape of errors, one log line a call."""

import base64
import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response, content_types
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.event_handler.openapi.exceptions import RequestValidationError

from lisa import aws
from lisa.api.caller import from_context
from lisa.audit.calls import event_of, name_created
from lisa.audit.log import publisher
from lisa.errors import InvalidRequest, LisaError, NotFound, PayloadTooLarge
from lisa.identity.policy import authorize, rule_for
from lisa.identity.principal import Principal
from lisa.observability import logger, traced
from lisa.settings import Settings

MAX_BODY_BYTES = 1024 * 1024


def api_resolver() -> APIGatewayRestResolver:
    """A resolver whose every error has the one shape."""
    app = APIGatewayRestResolver(enable_validation=True)
    app.exception_handler(LisaError)(lambda error: _answer(app, error))
    app.exception_handler(RequestValidationError)(lambda error: _answer(app, _named(error)))
    app.exception_handler(NotFoundError)(lambda error: _answer(app, NotFound("There is no such route.")))
    app.exception_handler(Exception)(lambda error: _unexpected(app, error))
    return app


def api_handler(app: APIGatewayRestResolver) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    """The Lambda handler for a resolver. The policy comes first, before anything of the request is looked at."""

    audit = publisher(Settings.from_environment().event_bus, aws.audit_bus)

    @traced
    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        request = event["requestContext"]
        answer: dict[str, Any]
        try:
            _admit(event)
            _check_body(event)
        except LisaError as error:
            answer = _plain_answer(error, request.get("requestId"))
        else:
            _speak_json(event)
            answer = app.resolve(event, context)
        # Before the answer: afterwards Lambda may freeze the process for good.
        written = event_of(event, answer)
        if written is not None:
            audit.publish([written])
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

    return handler


def caller(app: APIGatewayRestResolver) -> Principal:
    return from_context(app.current_event.request_context.get("authorizer") or {})


def created(app: APIGatewayRestResolver, object_id: str) -> None:
    """Tells the audit log which object a call has made."""
    name_created(app.current_event.raw_event, object_id)


def _admit(event: dict[str, Any]) -> None:
    context = event["requestContext"].get("authorizer") or {}
    principal = from_context(context) if context.get("user") else None
    authorize(rule_for("api", event["httpMethod"], event["path"]), principal)


def _check_body(event: dict[str, Any]) -> None:
    """What would be wrong in every body."""
    body = event.get("body") or ""
    try:
        # Some media types come in base64.
        content = base64.b64decode(body, validate=True) if event.get("isBase64Encoded") else body.encode()
        text = content.decode()
    except ValueError:
        raise InvalidRequest("The body is not text in UTF-8.") from None
    if len(content) > MAX_BODY_BYTES:
        raise PayloadTooLarge(f"The body is over {MAX_BODY_BYTES} bytes.")
    if "\x00" in text or "\\u0000" in text:
        raise InvalidRequest("The body holds a null character: leave it out.")


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
    loc = list(first["loc"])
    if loc[0] == "query" and len(loc) > 2 and isinstance(loc[2], str):
        del loc[1]  # parameters that a model takes together: the handler's own word for them
    place = [str(part) for part in loc if part not in ("body", "query", "path", "header")]
    field = ".".join(place) or None
    text = str(first["msg"]).removeprefix("Value error, ")
    return InvalidRequest(f"{field}: {text}" if field else f"The body: {text}", field=field)


def _body(error: LisaError, request_id: str | None) -> str:
    body: dict[str, Any] = {"message": error.message, "code": error.code}
    if error.field is not None:
        body["field"] = error.field
    return json.dumps(body | {"requestId": request_id})


def _headers(error: LisaError) -> dict[str, str]:
    headers = {"Cache-Control": "no-store"}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    return headers


def _answer(app: APIGatewayRestResolver, error: LisaError) -> Response[str]:
    return Response(
        status_code=error.status,
        content_type=content_types.APPLICATION_JSON,
        body=_body(error, app.current_event.request_context.request_id),
        headers=dict(_headers(error)),
    )


def _plain_answer(error: LisaError, request_id: str | None) -> dict[str, Any]:
    headers = {"Content-Type": content_types.APPLICATION_JSON} | _headers(error)
    return {
        "statusCode": error.status,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "body": _body(error, request_id),
        "isBase64Encoded": False,
    }


def _unexpected(app: APIGatewayRestResolver, error: Exception) -> Response[str]:
    logger.exception("unexpected error", extra={"requestId": app.current_event.request_context.request_id})
    return _answer(
        app,
        LisaError(
            "Something went wrong on our side. Try again; if it stays, tell the operator the request id.",
            status=HTTPStatus.INTERNAL_SERVER_ERROR,
        ),
    )
