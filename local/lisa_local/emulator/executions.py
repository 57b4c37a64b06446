"""Forgets Step Functions executions that finished long ago; the emulator keeps them all, and slows down."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from ministack.services import stepfunctions

KEEP_SECONDS = 15 * 60
"""How long a finished execution can still be looked at."""

KEEP_COUNT = 500
"""How many finished executions are kept at most."""


def prune(now: float | None = None) -> int:
    """Remove finished executions that are old or too many; answers how many."""
    now = time.time() if now is None else now
    executions: dict[Any, dict[str, Any]] = stepfunctions._executions._data
    finished = sorted(
        (
            (_stopped_at(record, now), key)
            for key, record in list(executions.items())
            if record.get("status") != "RUNNING"
        ),
        key=lambda each: each[0],
        reverse=True,
    )
    removed = 0
    for index, (stopped, key) in enumerate(finished):
        if index >= KEEP_COUNT or now - stopped > KEEP_SECONDS:
            executions.pop(key, None)
            removed += 1
    return removed


def _stopped_at(record: dict[str, Any], default: float) -> float:
    stopped = record.get("stopDate")
    if isinstance(stopped, int | float):
        return float(stopped)
    try:
        return datetime.fromisoformat(str(stopped).replace("Z", "+00:00")).timestamp()
    except ValueError:
        return default
