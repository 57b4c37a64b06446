"""Audit events of calls of the REST API, from what API Gateway passes on."""

import json
import time
from typing import Any

from lisa.api.caller import from_context
from lisa.audit.event import AuditEvent, Origin, new_id, outcome_of
from lisa.identity.policy import rule_for

READS = frozenset({"GET", "HEAD", "OPTIONS"})
_CREATED = "lisaCreated"


def name_created(event: dict[str, Any], object_id: str) -> None:
    """Says which object a call has made; its path cannot know."""
    event[_CREATED] = object_id


def origin_of(event: dict[str, Any]) -> Origin:
    request = event.get("requestContext") or {}
    identity = request.get("identity") or {}
    return Origin(
        door="api",
        request_id=str(request.get("requestId") or ""),
        source_ip=str(identity.get("sourceIp") or ""),
        user_agent=str(identity.get("userAgent") or ""),
    )


def event_of(event: dict[str, Any], answer: dict[str, Any]) -> AuditEvent | None:
    """What a call and its answer are to the audit log; None for a call that changes nothing."""
    method = event["httpMethod"]
    if method in READS:
        return None
    rule = rule_for("api", method, event["path"])
    route = rule.path if rule is not None else str(event.get("resource") or "")
    kind, object_id = object_of(route, event["path"])
    status = int(answer["statusCode"])
    context = event["requestContext"].get("authorizer") or {}
    return AuditEvent(
        id=new_id(),
        time=time.time(),
        action=f"{method} {route}",
        outcome=outcome_of(status),
        origin=origin_of(event),
        principal=from_context(context) if context.get("user") else None,
        object_type=kind,
        object_id=event.get(_CREATED) or object_id,
        status=status,
        error=_code(answer) if status >= 400 else "",
    )


def object_of(route: str, path: str) -> tuple[str, str]:
    """The last word of the route, and what stands for its last parameter."""
    kind, object_id = "", ""
    for template, part in zip(route.split("/"), path.split("/"), strict=False):
        if template.startswith("{"):
            object_id = part
        elif template:
            kind, object_id = template, ""
    return kind, object_id


def _code(answer: dict[str, Any]) -> str:
    try:
        return str(json.loads(answer.get("body") or "{}").get("code") or "")
    except (ValueError, AttributeError):
        return ""
