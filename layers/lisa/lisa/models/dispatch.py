"""Turns changes of the models table into workflows and events."""

import time
from collections.abc import Mapping
from typing import Any

from lisa.events import EventPublisher
from lisa.models.executions import Executions
from lisa.models.store import ModelStore


class Dispatcher:
    def __init__(self, store: ModelStore, executions: Executions, events: EventPublisher) -> None:
        self._store = store
        self._executions = executions
        self._events = events

    def __call__(self, old: Mapping[str, Any], new: Mapping[str, Any], *, at: float) -> None:
        """Starts the workflow of a row with a new generation or attempt, and says when a status has changed.

        `at` is when the table changed, in seconds since the epoch. The images are empty for a row that was not there
        before, or is gone. Records come twice, late and out of order, so what is started is what the row says now;
        events are said at least once, and tell the moment that they are of.
        """
        image = new or old
        if image.get("pk") != "MODEL":
            return
        if new and (new.get("generation"), new.get("attempt")) != (old.get("generation"), old.get("attempt")):
            record = self._store.get(str(new["sk"]))
            if record is not None and not record.settled:
                self._executions.start(record)
        status = new.get("status") if new else "Deleted"
        if status != old.get("status"):
            self._events.model_status_changed(
                {
                    "modelId": str(image["sk"]),
                    "status": status,
                    "previousStatus": old.get("status"),
                    "reason": new.get("reason"),
                    "generation": int(image["generation"]),
                    "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)),
                }
            )
