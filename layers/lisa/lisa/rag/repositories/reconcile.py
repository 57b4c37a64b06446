"""Finds what lost its workflow, and tries again or settles it, so that nothing stays in progress for ever."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from enum import StrEnum

from lisa.observability import logger
from lisa.rag.records import Collection, CollectionStatus, RepositoryStatus
from lisa.rag.repositories.executions import Executions
from lisa.rag.repositories.store import RepositoryStore, Row

# A row just written has its execution started by the stream within moments. Milliseconds, as in the rows.
SETTLE = 20_000
# The longest that a workflow may run: removing the documents of a large collection takes its time.
LONGEST = 6 * 3_600_000
MAX_ATTEMPTS = 5

_FAILED: dict[StrEnum, RepositoryStatus | CollectionStatus] = {
    RepositoryStatus.CREATE_IN_PROGRESS: RepositoryStatus.CREATE_FAILED,
    RepositoryStatus.UPDATE_IN_PROGRESS: RepositoryStatus.UPDATE_FAILED,
    RepositoryStatus.DELETE_IN_PROGRESS: RepositoryStatus.DELETE_FAILED,
    CollectionStatus.CREATE_IN_PROGRESS: CollectionStatus.CREATE_FAILED,
    CollectionStatus.DELETE_IN_PROGRESS: CollectionStatus.DELETE_FAILED,
}


@dataclass
class Report:
    """What one round did, by id (`repository` or `repository/collection`)."""

    retried: list[str] = field(default_factory=list)
    gave_up: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, list[str]]:
        return asdict(self)


class Reconciler:
    def __init__(
        self, store: RepositoryStore, executions: Executions, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._executions = executions
        self._clock = clock

    def __call__(self) -> Report:
        report = Report()
        for row in self._store.rows():
            if row.is_settled:
                continue
            try:
                self._look(row, report)
            except Exception:
                # One's trouble is written down and keeps nobody from looking at the others.
                logger.exception("a row could not be reconciled", extra={"row": _name(row)})
                report.failed.append(_name(row))
        return report

    def _look(self, row: Row, report: Report) -> None:
        now = int(self._clock() * 1000)
        age = now - row.record.updated_at
        if age < SETTLE:
            return
        state, error = self._executions.state(row)
        if state == "running" and age < LONGEST:
            return
        # A workflow that ended should have settled its row: it was stopped, lost, or its last write failed.
        if row.attempt < MAX_ATTEMPTS:
            if self._store.try_again(row, now=now):
                report.retried.append(_name(row))
            return
        reason = (
            f"Its workflow did not end well {row.attempt} times (last: {error or state}). "
            "Ask again, or look at the log."
        )
        # A collection that is there and could not be changed in its store stays what it is.
        status = _FAILED.get(row.record.status, row.record.status)
        if self._store.set_status(row.record, status, reason, now=now):
            report.gave_up.append(_name(row))


def _name(row: Row) -> str:
    kept = row.record
    return f"{kept.repository_id}/{kept.id}" if isinstance(kept, Collection) else kept.id
