"""`/api/openapi.json` and `/api/docs`: the management API describes itself, to everyone."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from lisa.api.docs import page
from lisa.observability import logger

DOCUMENT = Path(__file__).with_name("openapi.json")
# The page needs nothing from anywhere: no script, no image, its style in the page itself.
SECURITY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


@lru_cache
def contents(kind: str) -> str:
    document = DOCUMENT.read_text()
    return document if kind == "openapi.json" else page(document)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    kind = event["path"].rstrip("/").rsplit("/", 1)[-1]
    logger.info("docs", extra={"requestId": event["requestContext"].get("requestId"), "kind": kind})
    return {
        "statusCode": 200,
        "headers": {
            "Content-Type": "application/json" if kind == "openapi.json" else "text/html; charset=utf-8",
            "Content-Security-Policy": SECURITY,
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "public, max-age=300",
        },
        "body": contents(kind),
    }
