"""Turns changes of the repositories table into workflows and events."""

import time
from collections.abc import Mapping
from typing import Any

from lisa.events import EventPublisher
from lisa.rag.repositories.executions import Executions
from lisa.rag.repositories.store import RepositoryStore

SOURCE = "lisa.retrieval"
REPOSITORY_STATUS_CHANGED = "Repository Status Changed"
COLLECTION_STATUS_CHANGED = "Collection Status Changed"


class Dispatcher:
    def __init__(self, store: RepositoryStore, executions: Executions, events: EventPublisher) -> None:
        self._store = store
        self._executions = executions
        self._events = events

    def __call__(self, old: Mapping[str, Any], new: Mapping[str, Any], *, at: float) -> None:
        """Starts the workflow of a row with a new version or attempt, and says when a status has changed.

        `at` is when the table changed, in seconds since the epoch. The images are empty for a row that was not there
        before, or is gone. Records come twice, late and out of order, so what is started is what the row says now;
        events are said at least once, and tell the moment that they are of.
        """
        image = new or old
        if "attempt" not in image:
            return  # a name that leads to a record
        if new and (new.get("version"), new.get("attempt")) != (old.get("version"), old.get("attempt")):
            row = self._store.row(str(new["pk"]), str(new["sk"]))
            if row is not None and not row.is_settled:
                self._executions.start(row)
        status = new.get("status") if new else "DELETED"
        if status == old.get("status"):
            return
        detail = {
            "status": status,
            "previousStatus": old.get("status"),
            "reason": new.get("reason") or None,
            "version": int(image["version"]),
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)),
        }
        if image["pk"] == "REPOSITORY":
            about = {"repositoryId": image["id"]}
            self._events.say(SOURCE, REPOSITORY_STATUS_CHANGED, about | detail)
        else:
            about = {
                "repositoryId": image["repository_id"],
                "collectionId": image["id"],
                "name": image["name"],
            }
            self._events.say(SOURCE, COLLECTION_STATUS_CHANGED, about | detail)
