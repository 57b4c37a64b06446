"""The sample events in `events/`, and changes of them."""

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
FUNCTIONS = ROOT / "functions"


def names() -> list[str]:
    return sorted(path.parent.name for path in FUNCTIONS.glob("*/app.py"))


def sample(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((ROOT / "events" / f"{name}.json").read_text())
    return event


def call(
    method: str,
    path: str,
    body: Any = None,
    *,
    user: str | None = "admin",
    groups: tuple[str, ...] = ("admin",),
    query: dict[str, str] | None = None,
) -> dict[str, Any]:
    """A call of the REST API, as API Gateway passes it on; a string is sent as it is, anything else as JSON."""
    event = sample("models_api")
    event |= {"httpMethod": method, "path": path, "queryStringParameters": query}
    event["multiValueQueryStringParameters"] = {
        name: [value] for name, value in (query or {}).items()
    } or None
    event["body"] = body if isinstance(body, str) or body is None else json.dumps(body)
    event["requestContext"] |= {"httpMethod": method, "path": f"/lisa{path}"}
    authorizer = {
        "user": user,
        "groups": json.dumps(groups),
        "isAdmin": "true" if "admin" in groups else "false",
        "expiresAt": "4000000000",
    }
    event["requestContext"]["authorizer"] = authorizer if user else None
    return event


def logged(caplog: pytest.LogCaptureFixture) -> str:
    """Everything that was logged, with all its fields."""
    return " ".join(str(record.__dict__) for record in caplog.records)
