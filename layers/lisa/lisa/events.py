"""What LISA tells the world on its event bus. Schemas lie in `events/`; a breaking change is a new version."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lisa.errors import Unavailable

if TYPE_CHECKING:
    from types_boto3_events import EventBridgeClient

SOURCE = "lisa.models"
MODEL_STATUS_CHANGED = "Model Status Changed"
SCHEMA_VERSION = "1"
_MOST_ENTRIES = 10


class EventPublisher:
    def __init__(self, bus: str, client: "EventBridgeClient") -> None:
        self._bus = bus
        self._client = client

    def model_status_changed(self, detail: dict[str, Any]) -> None:
        """Raises Unavailable when the bus did not take the event, so that the step is tried again."""
        self.say(SOURCE, MODEL_STATUS_CHANGED, detail)

    def say(self, source: str, detail_type: str, detail: dict[str, Any]) -> None:
        """Raises Unavailable when the bus did not take the event."""
        self.say_all(source, detail_type, [detail])

    def say_all(self, source: str, detail_type: str, details: Sequence[dict[str, Any]]) -> None:
        """Several of one type. Raises Unavailable when the bus did not take all; said again, some are said twice."""
        for start in range(0, len(details), _MOST_ENTRIES):
            answer = self._client.put_events(
                Entries=[
                    {
                        "EventBusName": self._bus,
                        "Source": source,
                        "DetailType": detail_type,
                        "Detail": json.dumps(
                            {"schemaVersion": SCHEMA_VERSION, **detail}, separators=(",", ":")
                        ),
                    }
                    for detail in details[start : start + _MOST_ENTRIES]
                ]
            )
            if answer["FailedEntryCount"]:
                entry = next(each for each in answer["Entries"] if "ErrorCode" in each)
                raise Unavailable(
                    f"The event bus did not take an event: {entry.get('ErrorCode')}: {entry.get('ErrorMessage')}"
                )
