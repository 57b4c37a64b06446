"""What the front door answers by itself: errors in the shape of the interface they belong to, and pages."""

from __future__ import annotations

import secrets
from typing import Any

from aiohttp import web


def request_id() -> str:
    return secrets.token_hex(16)


def gateway_error(
    path: str, status: int, code: str, message: str, retry_after: int | None = None
) -> web.Response:
    """An error of the gateway: OpenAI's shape, or Anthropic's on its own routes."""
    identifier = request_id()
    body: dict[str, Any]
    if path.removeprefix("/v2/serve").removeprefix("/v1").startswith("/messages"):
        kind = "not_found_error" if status == 404 else "overloaded_error" if status == 503 else "api_error"
        body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": identifier}
    else:
        kind = "invalid_request_error" if status < 500 else "server_error"
        body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return _json(body, status, identifier, retry_after)


def api_error(status: int, code: str, message: str, retry_after: int | None = None) -> web.Response:
    """An error of the management API."""
    identifier = request_id()
    return _json({"message": message, "code": code, "requestId": identifier}, status, identifier, retry_after)


def _json(body: dict[str, Any], status: int, identifier: str, retry_after: int | None) -> web.Response:
    headers = {"x-request-id": identifier, "Cache-Control": "no-store", "Server": "lisa"}
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    return web.json_response(body, status=status, headers=headers)
