"""The functions' way to the audit log, with their own log for what the bus does not take."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from lisa.audit.publisher import NOT_DELIVERED, AuditPublisher
from lisa.observability import logger

if TYPE_CHECKING:
    from types_boto3_events import EventBridgeClient


def publisher(bus: str, client: "Callable[[], EventBridgeClient]") -> AuditPublisher:
    return AuditPublisher(bus, client, _keep)


def _keep(detail: str, reason: str) -> None:
    logger.error(NOT_DELIVERED, extra={"auditEvent": json.loads(detail), "reason": reason})
