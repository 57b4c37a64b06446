"""Saves the emulator's state while it runs; by itself it saves on a graceful stop only."""

from __future__ import annotations

import asyncio
import copy
import logging
import time
from collections.abc import Callable
from typing import Any

from ministack import app as emulator
from ministack.core import persistence
from ministack.services import stepfunctions

from lisa_local.emulator.executions import prune

logger = logging.getLogger("lisa.emulator.checkpoint")

INTERVAL = 4.0
"""Seconds from the end of one checkpoint to the next, at least."""

SHARE = 0.05
"""What checkpoints take of the time, unless they would be further apart than `LONGEST` then."""

LONGEST = 30.0
"""Seconds from one checkpoint to the next at most: what a crash may lose."""

LEFT_OUT = frozenset({"cloudwatch_logs", "cloudwatch"})
"""Grow without bound and may be lost in a crash; a graceful stop saves them."""

_DEFINITIONS = {
    "state_machines": "_state_machines",
    "tags": "_tags",
    "activities": "_activities",
    "state_machine_versions": "_state_machine_versions",
    "state_machine_aliases": "_state_machine_aliases",
}


def _stepfunctions_definitions() -> dict[str, Any]:
    """State machines without executions: a running one cannot be resumed, and finished ones are many."""
    return {key: copy.deepcopy(getattr(stepfunctions, name)) for key, name in _DEFINITIONS.items()}


class Checkpointer:
    """Writes each service's state in turn, on a timer and when asked."""

    def __init__(self) -> None:
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def started(self) -> bool:
        return self._task is not None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End after the checkpoint that may be under way."""
        self._stopping.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        took = 0.0
        while True:
            try:
                await asyncio.wait_for(
                    self._stopping.wait(), min(LONGEST, max(INTERVAL, took * (1 / SHARE - 1)))
                )
                return
            except TimeoutError:
                pass
            started = time.monotonic()
            prune()
            await self.save()
            took = time.monotonic() - started
            logger.debug("checkpoint took %.2f s", took)

    async def save(self) -> None:
        """Save what changed.

        The getters copy on the event loop, where no handler runs between two steps of theirs; in a thread
        they would fail on every service that is being written to. Encoding and writing happen in a thread.
        """
        for service, getter in emulator._build_persistence_save_dict().items():
            if service in LEFT_OUT:
                continue
            state = _copy(service, _stepfunctions_definitions if service == "stepfunctions" else getter)
            if state is not None:
                await asyncio.to_thread(persistence.save_state, service, state)


def _copy(service: str, getter: Callable[[], Any]) -> Any:
    for _ in range(3):
        try:
            return getter()
        except RuntimeError:  # a background thread changed it meanwhile
            continue
        except Exception:
            logger.exception("the state of %s could not be read", service)
            return None
    logger.warning("%s is changing too fast to be saved now: the next checkpoint tries again", service)
    return None
