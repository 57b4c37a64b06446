"""How a task's container starts, is watched and ends.

- The engine is told, by labels, which port to wait for before it answers a start. In a rolling update it
  waits for the target group's health check, as AWS does: the emulator stops the old task one second later.
- A task whose container is gone (the engine was restarted) is replaced. As shipped, only a container that is
  there and says it exited counts, and each is asked ten times a second.
- A container gets the time to end that its definition gives (`stopTimeout`); as shipped, five seconds.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from ministack.core.concurrency import spawn_background
from ministack.core.responses import request_scope
from ministack.services import alb, ecs

from lisa_local.emulator.bridges.seams import Bridge, Context, original, replace
from lisa_local.engine import labels

logger = logging.getLogger("lisa.emulator.tasks")

FIRST_START_SECONDS = 5
"""A first start waits this long for the port, so that logs and failures show soon."""

REPLACEMENT_SECONDS = 60
"""A start that replaces a running task waits this long for the health check."""

_WAIT_SECONDS = 20

_NEEDED = (
    "_tasks",
    "_services",
    "_task_is_active",
    "_maybe_mark_stopped",
    "_mark_task_stopped",
    "_cleanup_task_resources",
    "_cluster_name_from_arn",
    "_schedule_service_deployment_completion",
)


def install(_: Context) -> None:
    build = original(ecs, "_build_run_kwargs")
    for name in _NEEDED:
        original(ecs, name)
    original(alb, "_tgs")

    def build_run_kwargs(
        cdef: dict[str, Any], td: dict[str, Any], env: dict[str, str], *rest: Any
    ) -> dict[str, Any]:
        ports = [
            mapping["containerPort"] for mapping in cdef.get("portMappings", []) if "containerPort" in mapping
        ]
        if ports:
            env.setdefault("PORT", str(ports[0]))
        kwargs: dict[str, Any] = build(cdef, td, env, *rest)
        task_arn = kwargs["labels"].get("com.amazonaws.ecs.task-arn", "")
        kwargs["labels"] |= _labels(cdef, ports, ecs._tasks.get(task_arn))
        return kwargs

    replace(ecs, "_build_run_kwargs", build_run_kwargs)
    replace(ecs, "_watch_task_lifecycle", _watch_task_lifecycle)


def _labels(cdef: dict[str, Any], ports: list[int], task: dict[str, Any] | None) -> dict[str, str]:
    found = {labels.STOP_SECONDS: str(cdef.get("stopTimeout", 30))}
    if not ports:
        return found
    found |= {labels.READY_PORT: str(ports[0]), labels.READY_SECONDS: str(FIRST_START_SECONDS)}
    if task is not None and _replaces_running_task(task):
        found[labels.READY_SECONDS] = str(REPLACEMENT_SECONDS)
        if group := _target_group(task, cdef["name"]):
            found[labels.READY_PORT] = str(group[1])
            found[labels.READY_PATH] = group[0].get("HealthCheckPath", "/")
    return found


def _replaces_running_task(task: dict[str, Any]) -> bool:
    if not task.get("group", "").startswith("service:"):
        return False
    service = (task["group"], task["clusterArn"])
    return any(
        other is not task
        and (other.get("group"), other.get("clusterArn")) == service
        and other.get("lastStatus") == "RUNNING"
        for other in list(ecs._tasks.values())
    )


def _target_group(task: dict[str, Any], container: str) -> tuple[dict[str, Any], int] | None:
    cluster = ecs._cluster_name_from_arn(task.get("clusterArn", ""))
    service = ecs._services.get(f"{cluster}/{task['group'].split(':', 1)[1]}") or {}
    for entry in service.get("loadBalancers") or []:
        group = alb._tgs.get(entry.get("targetGroupArn"))
        if group is not None and entry.get("containerName", container) == container:
            return group, int(entry.get("containerPort") or group.get("Port", 80))
    return None


def _watch_task_lifecycle(task: dict[str, Any], client: Any, account_id: str, region: str) -> None:
    """Follow a running task to its end, in a thread of its own that sleeps in the engine's `wait`."""
    arn = task["taskArn"]

    def watch() -> None:
        with request_scope(account_id, region):
            while ecs._task_is_active(arn, task):
                _await_exit(task, client)

    spawn_background(watch, thread_name=f"lisa-ecs-watch-{arn.rsplit('/', 1)[-1][:8]}")
    cluster = ecs._cluster_name_from_arn(task.get("clusterArn", ""))
    if cluster and task.get("group", "").startswith("service:"):
        ecs._schedule_service_deployment_completion(
            cluster, f"{cluster}/{task['group'].split(':', 1)[1]}", account_id, region, healthy_task=task
        )


def _await_exit(task: dict[str, Any], client: Any) -> None:
    """Wait for a container of the task to end (some seconds at most) and record what became of it."""
    import docker
    import requests

    identifiers = list(task.get("_docker_ids") or [])
    if not identifiers:
        time.sleep(0.2)
        return
    # With several containers, any of them may end first: look at each in turn.
    patience = _WAIT_SECONDS if len(identifiers) == 1 else 1
    try:
        for identifier in identifiers:
            try:
                client.containers.get(identifier).wait(timeout=patience)
            except (requests.exceptions.ReadTimeout, requests.exceptions.ConnectionError) as error:
                if "timed out" not in str(error).lower():
                    raise
        ecs._maybe_mark_stopped(task, client)
    except docker.errors.NotFound:
        arn = task["taskArn"]
        logger.warning("the container of task %s is gone", arn.rsplit("/", 1)[-1])
        if ecs._mark_task_stopped(arn, task, "Container is gone", "EssentialContainerExited", exit_code=137):
            ecs._cleanup_task_resources(task, None)
    except Exception as error:
        logger.debug("the container engine does not answer: %s", error)
        time.sleep(0.5)


BRIDGE = Bridge("task-start", "starts wait for readiness, lost containers are replaced", install)
