"""The steps of a model's workflows. Each is one state of a state machine, may run twice, and ends with an outcome.

What is wrong with a model is an outcome with a reason; only what may pass by itself is raised, so that the state
machine tries the step again.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from lisa.errors import Conflict, LisaError
from lisa.guardrails.definition import Guardrail
from lisa.models import health, naming
from lisa.models.priorities import PriorityStore
from lisa.models.record import WORKFLOW_MARGIN, ModelRecord
from lisa.models.routes import HostedTarget, ProviderTarget, Route, RouteState, RouteStore
from lisa.models.schema import Status
from lisa.models.secrets import ProviderKeys
from lisa.models.stacks import ModelStacks
from lisa.models.store import ModelStore
from lisa.models.tasks import Tasks
from lisa.models.weights import Weights
from lisa.settings import Settings

Outcome = dict[str, Any]
SUPERSEDED: Outcome = {"outcome": "superseded"}
# A gateway that has died is waited for until it counts as dead; a few seconds more for clocks that differ.
ACKNOWLEDGE_SECONDS = 40
# A removal fails for a moment while something still uses what is removed.
REMOVAL_TRIES = 3


@dataclass(frozen=True, slots=True)
class Wish:
    """What a workflow was started for."""

    model_id: str
    generation: int
    attempt: int = 1

    @classmethod
    def of(cls, event: dict[str, Any]) -> "Wish":
        return cls(str(event["modelId"]), int(event["generation"]), int(event["attempt"]))


class CheckModel:
    """First state: is the wish still wanted, and can it work at all?"""

    def __init__(self, store: ModelStore, weights: Weights) -> None:
        self._store = store
        self._weights = weights

    def __call__(self, wish: Wish) -> Outcome:
        record = current(self._store, wish)
        if record is None:
            return SUPERSEDED
        if not record.definition.hosted:
            return {"outcome": "external"}
        missing = self._weights.missing(record.definition.model_name)
        if missing:
            return {"outcome": "failed", "reason": missing}
        return {"outcome": "hosted"}


class RouteModel:
    """Puts the model's route into the catalogue, or takes it out; returns the version that gateways must have."""

    def __init__(self, settings: Settings, store: ModelStore, routes: RouteStore) -> None:
        self._settings = settings
        self._store = store
        self._routes = routes

    def __call__(self, wish: Wish, state: RouteState | Literal["withdrawn"]) -> Outcome:
        record = current(self._store, wish)
        if record is None:
            return SUPERSEDED
        if state == "withdrawn":
            return {"outcome": "routed", "version": self._routes.remove(wish.model_id)}
        try:
            version = self._routes.put(self.route(record, state), generation=wish.generation)
        except Conflict:
            return SUPERSEDED
        return {"outcome": "routed", "version": version}

    def route(self, record: ModelRecord, state: RouteState) -> Route:
        definition = record.definition
        target: HostedTarget | ProviderTarget
        if definition.inference_container is not None:
            target = HostedTarget(
                definition.inference_container,
                self._settings.models_url,
                naming.host_header(record.model_id),
            )
        else:
            name = definition.model_name
            if definition.hosting_type == "internal_hosted" and not name.startswith("openai/"):
                name = f"openai/{name}"  # a server of one's own that speaks OpenAI's API
            target = ProviderTarget(name, definition.model_url, record.secret_arn)
        return Route(
            model_id=record.model_id,
            model_name=definition.model_name,
            model_type=definition.model_type,
            mode=definition.route_mode,
            hosting_type="lisa_hosted" if definition.hosted else definition.hosting_type,
            state=state,
            target=target,
            allowed_groups=tuple(definition.allowed_groups or ()),
            context_window=definition.context_window,
            created_at=record.created_at,
            guardrails=tuple(map(Guardrail.of, (definition.guardrails_config or {}).values())),
        )


class AwaitGateways:
    """Whether all live gateways serve the catalogue's version; past the time limit, whether or not."""

    def __init__(self, routes: RouteStore, *, clock: Callable[[], float] = time.time) -> None:
        self._routes = routes
        self._clock = clock

    def __call__(self, version: int, since: float | None) -> Outcome:
        now = self._clock()
        if self._routes.acknowledged(version):
            return {"outcome": "acknowledged"}
        if since is not None and now - since > ACKNOWLEDGE_SECONDS:
            # A gateway that lives and does not load is broken; it must not hold up everybody's models.
            return {"outcome": "acknowledged", "late": True}
        return {"outcome": "pending", "version": version, "since": since if since is not None else now}


class CreateStack:
    def __init__(
        self, store: ModelStore, weights: Weights, priorities: PriorityStore, stacks: ModelStacks
    ) -> None:
        self._store = store
        self._weights = weights
        self._priorities = priorities
        self._stacks = stacks

    def __call__(self, wish: Wish) -> Outcome:
        record = current(self._store, wish)
        if record is None:
            return SUPERSEDED
        weights = self._weights.uri(record.definition.model_name)
        try:
            priority = self._priorities.take(wish.model_id)
            self._stacks.create(record.definition, weights, priority)
        except LisaError as error:
            return {"outcome": "failed", "reason": error.message}
        if current(self._store, wish) is None:
            # A delete came in between and may have looked before the stack was there.
            self._stacks.delete(wish.model_id)
            if self._store.get(wish.model_id) is None:
                self._priorities.give_back(wish.model_id)  # the delete has ended: nobody else will
            return SUPERSEDED
        return {"outcome": "requested"}


class ObserveModel:
    """Looks at the stack and the tasks: built and to be asked itself, failed with a reason, or not yet."""

    def __init__(
        self,
        settings: Settings,
        store: ModelStore,
        stacks: ModelStacks,
        tasks: Tasks,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._store = store
        self._stacks = stacks
        self._tasks = tasks
        self._clock = clock

    def __call__(self, wish: Wish) -> Outcome:
        record = current(self._store, wish)
        if record is None:
            return SUPERSEDED
        model_id, deployment = wish.model_id, self._settings.deployment
        log_group = naming.log_group(deployment, model_id)
        stack = self._stacks.view(model_id)
        service = naming.stack_name(deployment, model_id)
        cluster = service if self._settings.capacity == "asg" else self._settings.cluster
        failure = self._tasks.failure(cluster, service, log_group)
        if failure is not None:
            return {"outcome": "failed", "reason": failure}
        if stack.state == "failed":
            return {"outcome": "failed", "reason": f"CloudFormation could not build it: {stack.reason}"}
        if stack.state == "absent":
            return {"outcome": "failed", "reason": "Its CloudFormation stack was removed from outside."}
        balancer = record.definition.load_balancer_config
        path = balancer.health_check_config.path if balancer else "/health"
        limit = self._settings.model_start_timeout
        if self._clock() > record.deadline - WORKFLOW_MARGIN:
            reason = f"It did not answer {path} with 200 within {limit} s"
            return {"outcome": "failed", "reason": reason + self._tasks.last_words(log_group)}
        wait = pause(self._clock() - (record.deadline - WORKFLOW_MARGIN - limit))
        if stack.state != "ready":
            return {"outcome": "pending", "wait": wait}
        return {"outcome": "built", "path": path, "wait": wait}


class ProbeModel:
    """Asks the model itself, through the load balancer that its callers use. Needs the network, and no AWS API."""

    def __init__(
        self, settings: Settings, *, answers: Callable[[str, str, str], bool] = health.answers
    ) -> None:
        self._settings = settings
        self._answers = answers

    def __call__(self, wish: Wish, path: str) -> Outcome:
        ready = self._answers(self._settings.models_url, naming.host_header(wish.model_id), path)
        return {"outcome": "ready" if ready else "pending"}


class DeleteStack:
    """Asks for the stack's removal and says when it is gone, and the listener priority with it."""

    def __init__(self, store: ModelStore, stacks: ModelStacks, priorities: PriorityStore) -> None:
        self._store = store
        self._stacks = stacks
        self._priorities = priorities

    def __call__(self, wish: Wish, asked: int) -> Outcome:
        """`asked` is how often this workflow has asked for the removal."""
        if current(self._store, wish) is None:
            return SUPERSEDED  # a newer attempt may be building the stack that is there now
        view = self._stacks.view(wish.model_id)
        if view.state == "absent":
            self._priorities.give_back(wish.model_id)
            return {"outcome": "gone"}
        if view.removing:
            return {"outcome": "pending", "asked": asked}
        if asked >= REMOVAL_TRIES:
            reason = f"Its stack could not be removed: {view.reason}. Delete it again."
            return {"outcome": "failed", "reason": reason}
        self._stacks.delete(wish.model_id)
        return {"outcome": "pending", "asked": asked + 1}


class RecordStatus:
    """Writes where a workflow has ended into the row; the table's stream tells the bus."""

    def __init__(
        self,
        store: ModelStore,
        keys: ProviderKeys,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._keys = keys
        self._clock = clock

    def __call__(self, wish: Wish, status: Status | Literal["Deleted"], reason: str | None = None) -> Outcome:
        before = current(self._store, wish)
        if before is None:
            return SUPERSEDED
        if status == "Deleted":
            if before.secret_arn is not None:
                self._keys.forget(before.secret_arn)
            self._store.forget(wish.model_id, wish.generation)
        else:
            self._store.set_status(wish.model_id, wish.generation, status, reason, now=int(self._clock()))
        return {"outcome": "recorded"}


def pause(elapsed: float) -> int:
    """Seconds until the next look at a model that has been starting for so long.

    An execution holds 25,000 events, and a look takes about 15: small models are seen at once, large ones in time.
    """
    return 1 if elapsed < 60 else 5 if elapsed < 600 else 15


def current(store: ModelStore, wish: Wish) -> ModelRecord | None:
    """The row, as long as the wish is the newest, and this the newest attempt at it; otherwise another workflow is
    at work, and this one has nothing more to do."""
    record = store.get(wish.model_id)
    if record is None or (record.generation, record.attempt) != (wish.generation, wish.attempt):
        return None
    return record
