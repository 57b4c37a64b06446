"""Turns changes of the models table into workflows."""

from collections.abc import Mapping
from typing import Any

from lisa.models.executions import Executions
from lisa.models.store import ModelStore


class Dispatcher:
    def __init__(self, store: ModelStore, executions: Executions) -> None:
        self._store = store
        self._executions = executions

    def __call__(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        """Starts the workflow of a row with a new generation or attempt.

        Records come twice, late and out of order, so what is started is what the row says now.
        """
        if new.get("pk") != "MODEL":
            return
        wanted = (new.get("generation"), new.get("attempt"))
        if wanted == (old.get("generation"), old.get("attempt")):
            return
        record = self._store.get(str(new["sk"]))
        if record is not None and not record.settled:
            self._executions.start(record)
