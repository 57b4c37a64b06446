"""Nothing stays begun for ever: what was lost on its way is asked for again, and settled when that does not help."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from lisa import dynamo
from lisa.rag.documents import jobs as job_rules
from lisa.rag.documents import naming
from lisa.rag.documents.objects import Kind, ObjectState
from lisa.rag.documents.queue import Request, WorkQueue
from lisa.rag.documents.slots import SlotStore
from lisa.rag.documents.stores import Stores
from lisa.rag.documents.uploads import Uploads
from lisa.rag.ingestion.commit import MAX_ATTEMPTS, CommitDocuments
from lisa.rag.ingestion.executions import IngestionExecutions
from lisa.rag.ingestion.items import Item, Outcome, Work

# Milliseconds. An Express execution ends within five minutes, and a retry waits for a minute at most.
LOST_AFTER = 8 * 60_000
# An upload's event has a queue of its own, but may wait behind others' uploads there.
EVENT_LOST_AFTER = 60 * 60_000
# A slot whose execution is not to be seen: it may be about to start.
SLOT_LOST_AFTER = 5 * 60_000


@dataclass(slots=True)
class Report:
    """Ids of documents, and names of executions."""

    asked_again: list[str] = field(default_factory=list)
    gave_up: list[str] = field(default_factory=list)
    slots: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class ReconcileDocuments:
    """`clock` is in seconds."""

    def __init__(
        self,
        client: Any,
        stores: Stores,
        slots: SlotStore,
        executions: IngestionExecutions,
        uploads: Uploads,
        queue: WorkQueue,
        commit: CommitDocuments,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._stores = stores
        self._slots = slots
        self._executions = executions
        self._uploads = uploads
        self._queue = queue
        self._commit = commit
        self._clock = clock

    def __call__(self) -> Report:
        report = Report()
        now = int(self._clock() * 1000)
        for slot in self._slots.taken():
            state = self._executions.state_of_long(slot.holder)
            if state == "ended" or (state == "unknown" and slot.since < now - SLOT_LOST_AFTER):
                self._slots.give_back(slot.holder)
                report.slots.append(slot.holder)
        for found in self._stores.objects.open_since(now - LOST_AFTER):
            self._settle(found, now, report)
        return report

    def ended_badly(self, detail: Mapping[str, Any]) -> Report:
        """An execution was stopped, or failed without a word: its slot is free, and its work is asked for again."""
        report = Report()
        self._slots.give_back(str(detail["name"]))
        report.slots.append(str(detail["name"]))
        for asked in Work.model_validate(json.loads(detail.get("input") or '{"work": ""}')).requests:
            request = Request.model_validate(asked.model_dump(exclude={"id"}))
            self._queue.ask([request.model_copy(update={"tries": request.tries + 1})], delay=10)
            report.asked_again.append(asked.document_id or asked.key)
        return report

    def _settle(self, state: ObjectState, now: int, report: Report) -> None:
        if state.expected:
            if state.since < now - EVENT_LOST_AFTER:
                self._settle_upload(state, now, report)
        elif state.attempts >= MAX_ATTEMPTS:
            self._give_up(
                state, "Its ingestion broke off again and again: try it again, or tell an administrator."
            )
            report.gave_up.append(state.document_id)
        else:
            self._queue.ask(
                [
                    Request(
                        document_id=state.document_id,
                        removal=state.kind is Kind.REMOVED,
                        interactive=state.bucket == self._uploads.bucket and naming.is_upload(state.key),
                    )
                ]
            )
            report.asked_again.append(state.document_id)

    def _settle_upload(self, state: ObjectState, now: int, report: Report) -> None:
        """An upload whose event never came: as if it had, or failed where nothing was uploaded."""
        version = naming.following(state.sequencer or naming.sequencer("0"))
        new = {
            "sequencer": version,
            "job_id": state.expected,
            "kind": str(Kind.CREATED),
            "etag": "",
        }
        job = self._stores.jobs.get(state.expected)
        if job is None or job.status in job_rules.SETTLED:
            new["job_id"] = naming.job_id(state.document_id, version)
        if not dynamo.transact(self._client, [self._stores.objects.open_again(state, now=now, **new)]):
            return  # its event has come this very moment
        if self._uploads.is_there(state.bucket, state.key):
            self._queue.ask([Request(document_id=state.document_id, interactive=True)])
            report.asked_again.append(state.document_id)
        else:
            opened = self._stores.objects.get(state.document_id)
            if opened is not None:
                self._give_up(opened, "The file did not arrive in the drop folder: upload it again.")
            report.gave_up.append(state.document_id)

    def _give_up(self, state: ObjectState, reason: str) -> None:
        item = Item.of(state)
        self._commit(Work(work="", items=(item.became(Outcome.FAILED, reason, code="server_error"),)))
