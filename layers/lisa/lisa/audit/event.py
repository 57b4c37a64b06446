"""An audit event: who did what to which object, and what came of it. It never holds bodies, tokens or queries."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from lisa.identity.principal import Principal

Door = Literal["api", "gateway"]
Outcome = Literal["success", "denied", "failed"]

SIGN_IN = "sign-in"
MAX_TEXT = 200  # characters of anything that a caller chose
_NAMESPACE = uuid.UUID("5b0f6f0e-8c57-4c0b-9a5c-3a1f0c0de4a7")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came from."""

    door: Door
    request_id: str
    source_ip: str
    user_agent: str


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """`action` is a method and a route's template, or `sign-in`; `time` is epoch seconds.

    Two events with one id tell the same thing.
    """

    id: str
    time: float
    action: str
    outcome: Outcome
    origin: Origin
    principal: Principal | None = None
    object_type: str = ""
    object_id: str = ""
    status: int = 0
    error: str = ""

    def detail(self) -> dict[str, Any]:
        """The event in the words of `events/audit_event.v1.schema.json`."""
        found = {"schemaVersion": "1", "id": self.id, "time": iso(self.time), "action": self.action}
        return found | {
            "actor": _actor(self.principal),
            "object": {"type": self.object_type, "id": self.object_id[:MAX_TEXT]},
            "outcome": {"result": self.outcome, "status": self.status, "error": self.error[:MAX_TEXT]},
            "door": self.origin.door,
            "requestId": self.origin.request_id[:MAX_TEXT],
            "sourceIp": self.origin.source_ip[:64],
            "userAgent": self.origin.user_agent[:MAX_TEXT],
        }


def iso(time: float) -> str:
    """UTC with milliseconds. Such texts sort as their times do."""
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def new_id() -> str:
    return str(uuid.uuid4())


def id_of(*parts: str) -> str:
    """The same id for the same parts, whoever makes it."""
    return str(uuid.uuid5(_NAMESPACE, "\x00".join(parts)))


def outcome_of(status: int) -> Outcome:
    if status < 400:
        return "success"
    return "denied" if status in (401, 403) else "failed"


def _actor(principal: Principal | None) -> dict[str, str]:
    if principal is None:
        return {"user": "", "tokenId": "", "kind": "anonymous"}
    kind = "api-token" if principal.token_id else "sign-in"
    return {"user": principal.user[:MAX_TEXT], "tokenId": principal.token_id, "kind": kind}
