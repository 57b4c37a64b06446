"""Audit events on their way to the bus. What the bus does not take is handed to whoever writes the log."""

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from lisa.audit.event import AuditEvent

if TYPE_CHECKING:
    from types_boto3_events import EventBridgeClient

SOURCE = "lisa.audit"
DETAIL_TYPE = "Audit Event"
NOT_DELIVERED = "audit event not delivered"  # a metric counts lines that say so
MAX_ENTRIES = 10  # of one PutEvents, by EventBridge's limit
ATTEMPTS = 3

Lost = Callable[[str, str], None]


class AuditPublisher:
    """`lost` takes a whole event as JSON, and why it could not be delivered: it must keep it.

    `client` is asked when there is something to say: many processes never have.
    """

    def __init__(self, bus: str, client: "Callable[[], EventBridgeClient]", lost: Lost) -> None:
        self._bus = bus
        self._client = client
        self._lost = lost

    def publish(self, events: Sequence[AuditEvent]) -> None:
        """Never raises for the bus: a call that was allowed is not undone because it could not be written down."""
        details = [json.dumps(event.detail(), separators=(",", ":")) for event in events]
        for start in range(0, len(details), MAX_ENTRIES):
            self._deliver(details[start : start + MAX_ENTRIES])

    def _deliver(self, details: list[str]) -> None:
        reason = ""
        for _ in range(ATTEMPTS):
            try:
                answer = self._client().put_events(Entries=[self._entry(detail) for detail in details])
            except (BotoCoreError, ClientError) as error:
                reason = str(error)  # the client has tried again by itself
                break
            if not answer["FailedEntryCount"]:
                return
            refused = [
                (detail, entry)
                for detail, entry in zip(details, answer["Entries"], strict=True)
                if entry.get("ErrorCode")
            ]
            details = [detail for detail, _ in refused]
            reason = str(refused[0][1].get("ErrorCode"))
        for detail in details:
            self._lost(detail, reason)

    def _entry(self, detail: str) -> Any:
        return {
            "EventBusName": self._bus,
            "Source": SOURCE,
            "DetailType": DETAIL_TYPE,
            "Detail": detail,
        }
