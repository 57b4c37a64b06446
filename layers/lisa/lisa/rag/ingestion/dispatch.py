"""From the queue to the workflows: ordinary work in batches that are waited for, long work with a slot of its own.

Waiting is what bounds the work: as many batches are under way as the queues' two event sources run dispatchers.
"""

import hashlib
import json
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lisa.errors import LisaError, Unavailable
from lisa.observability import logger
from lisa.rag.documents import naming
from lisa.rag.documents.queue import Request, WorkQueue
from lisa.rag.documents.slots import SlotStore
from lisa.rag.ingestion.executions import IngestionExecutions
from lisa.rag.ingestion.items import AskedFor, Work

# Bytes of a file that is not tried in a batch with others.
LONG_BYTES = 8 << 20
# Executions that broke off before they could say why; then the message is left to the dead letters.
MOST_TRIES = 8
# Seconds until work for which no slot was free is looked at again.
NO_SLOT_DELAY = 20


@dataclass(frozen=True, slots=True)
class Message:
    id: str
    body: str


class DispatchDocuments:
    """`clock` is in seconds."""

    def __init__(
        self,
        executions: IngestionExecutions,
        queue: WorkQueue,
        slots: SlotStore,
        *,
        drop_bucket: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._executions = executions
        self._queue = queue
        self._slots = slots
        self._drop_bucket = drop_bucket
        self._clock = clock

    def __call__(self, messages: Iterable[Message]) -> list[str]:
        """The ids of messages that are to come again."""
        failed: list[str] = []
        asked: list[AskedFor] = []
        for message in messages:
            try:
                asked += [AskedFor(id=message.id, **request_of(message.body, self._drop_bucket).model_dump())]
            except (ValueError, KeyError, TypeError) as error:
                logger.error("a message that cannot be read", extra={"error": str(error)[:500]})
                failed.append(message.id)
        for group in _groups(asked):
            try:
                self._run(group)
            except LisaError as error:
                logger.warning("a batch comes again", extra={"error": str(error)[:500]})
                failed += [each.id for each in group]
        return failed

    def _run(self, group: Sequence[AskedFor]) -> None:
        if len(group) == 1 and group[0].size > LONG_BYTES and not group[0].removal:
            self._run_long(group[0])
            return
        work = Work(work=uuid.uuid4().hex, requests=tuple(group))
        long = self._executions.run(work, removal=group[0].removal)
        if long is None:
            self._try_again(group)
            return
        for each in group:
            if each.id in long:
                self._run_long(each)

    def _run_long(self, asked: AskedFor) -> None:
        holder = _holder(asked)
        if not self._slots.take(holder, now=int(self._clock() * 1000)):
            self._queue.ask([_request(asked)], delay=NO_SLOT_DELAY)
            return
        try:
            self._executions.start_long(Work(work=holder, long=True, requests=(asked,)))
        except Exception:
            self._slots.give_back(holder)
            raise

    def _try_again(self, group: Sequence[AskedFor]) -> None:
        """An execution broke off as a whole: each by itself next time, so that a bad one holds up no other."""
        for each in group:
            if each.tries >= MOST_TRIES:
                raise Unavailable("Its execution broke off again and again.")
            again = _request(each).model_copy(update={"tries": each.tries + 1})
            self._queue.ask([again], delay=min(60, 1 << each.tries))


def request_of(body: str, drop_bucket: str) -> Request:
    """What a message asks for: our own request, or S3's event. Raises ValueError or KeyError for anything else."""
    message: Any = json.loads(body)
    if "request" in message:
        return Request.model_validate(message["request"])
    detail = message["detail"]
    found = detail["object"]
    return Request(
        bucket=detail["bucket"]["name"],
        key=found["key"],
        sequencer=naming.sequencer(found["sequencer"]),
        etag=str(found.get("etag", "")).strip('"'),
        size=int(found.get("size", 0)),
        removal=message["detail-type"] == "Object Deleted",
        interactive=detail["bucket"]["name"] == drop_bucket and naming.is_upload(found["key"]),
    )


def _groups(asked: Sequence[AskedFor]) -> list[list[AskedFor]]:
    """What is worked on together: removals, ordinary files; and each by itself what is long or has failed before."""
    together: dict[bool, list[AskedFor]] = {}
    alone: list[list[AskedFor]] = []
    for each in asked:
        if each.tries or (each.size > LONG_BYTES and not each.removal):
            alone.append([each])
        else:
            together.setdefault(each.removal, []).append(each)
    return [*together.values(), *alone]


def _holder(asked: AskedFor) -> str:
    """The name of a long execution: what it is about, and which try."""
    about = asked.document_id or f"{asked.bucket}/{asked.key}"
    return f"{hashlib.sha256(about.encode()).hexdigest()[:32]}-{uuid.uuid4().hex[:16]}"


def _request(asked: AskedFor) -> Request:
    return Request.model_validate(asked.model_dump(exclude={"id"}))
