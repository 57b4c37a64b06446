"""Finds models whose workflow was lost, and tries again or settles them, so that none stays in progress for ever."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

from lisa.models.executions import Executions
from lisa.models.record import ModelRecord, time_allowed
from lisa.models.routes import RouteStore
from lisa.models.secrets import ProviderKeys
from lisa.models.stacks import ModelStacks
from lisa.models.store import ModelStore
from lisa.observability import logger
from lisa.settings import Settings

# A row just written has its execution started by the stream within moments.
SETTLE_SECONDS = 20
MAX_ATTEMPTS = 5
# A key is stored moments before its model's row; by then no call of the API can still be between the two.
KEY_SECONDS = 900


@dataclass
class Report:
    """What one round did, by model id."""

    retried: list[str] = field(default_factory=list)
    gave_up: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, list[str]]:
        return asdict(self)


class Reconciler:
    def __init__(
        self,
        settings: Settings,
        store: ModelStore,
        executions: Executions,
        stacks: ModelStacks,
        routes: RouteStore,
        keys: ProviderKeys,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._store = store
        self._executions = executions
        self._stacks = stacks
        self._routes = routes
        self._keys = keys
        self._clock = clock

    def __call__(self) -> Report:
        report = Report()
        records, _ = self._store.page()
        for record in records:
            if not record.settled:
                with self._apart(record.model_id, report):
                    self._look(record, report)
        # A create that was overtaken by its delete may leave a stack behind in the moment between two writes.
        for model_id in self._stacks.models_with_stack():
            with self._apart(model_id, report):
                if self._store.get(model_id) is None:
                    self._stacks.delete(model_id)
                    report.orphans.append(model_id)
        self._sweep_keys(report)
        return report

    def _sweep_keys(self, report: Report) -> None:
        """Forgets keys that no row names: the call that had stored one died before it could write the row."""
        for key in self._keys.kept():
            if self._clock() - key.created_at < KEY_SECONDS:
                continue
            with self._apart(key.model_id, report):
                record = self._store.get(key.model_id)
                if record is None or record.secret_arn != key.arn:
                    self._keys.forget(key.arn)
                    report.keys.append(key.model_id)

    @contextmanager
    def _apart(self, model_id: str, report: Report) -> Iterator[None]:
        """One model's trouble is written down and keeps nobody from looking at the others."""
        try:
            yield
        except Exception:
            logger.exception("a model could not be reconciled", extra={"modelId": model_id})
            report.failed.append(model_id)

    def _look(self, record: ModelRecord, report: Report) -> None:
        now = int(self._clock())
        if now - record.updated_at < SETTLE_SECONDS:
            return
        state, error = self._executions.state(record)
        if state == "running" and now <= record.deadline:
            return
        # A workflow that ended should have settled its row: it was stopped, lost, or its last write failed.
        if record.attempt >= MAX_ATTEMPTS:
            reason = (
                f"Its workflow did not end well {record.attempt} times (last: {error or state}). "
                "Delete it and try again."
            )
            if self._store.set_status(record.model_id, record.generation, "Failed", reason, now=now):
                # Nothing of a Failed model may go on costing money or taking calls; the rest goes with its delete.
                self._routes.remove(record.model_id)
                if record.definition.hosted:
                    self._stacks.delete(record.model_id)
                report.gave_up.append(record.model_id)
            return
        allowed = time_allowed(record.definition, record.desired, self._settings.model_start_timeout)
        if self._store.try_again(record, now=now, deadline=now + allowed):
            report.retried.append(record.model_id)
