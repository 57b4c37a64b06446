"""ECS services: a stopped task is replaced, once, and counts from templates are numbers.

As shipped `StopTask` leaves a service one task short for ever, and `DesiredCount: !Ref <parameter>` arrives
as a string that its arithmetic refuses. Tasks that end together are each counted in a thread of their own: as
shipped, two that look at the same moment both start what is missing, and a service has a task too many.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from ministack.services import ecs

from lisa_local.emulator.bridges.seams import Bridge, Context, original, replace

Handler = Callable[[dict[str, Any]], Any]

_PERCENTS = ("maximumPercent", "minimumHealthyPercent")


def install(_: Context) -> None:
    actions = original(ecs, "_ACTION_MAP")
    replace(ecs, "_reconcile_service_tasks", one_at_a_time(original(ecs, "_reconcile_service_tasks")))

    stop = original(actions, "StopTask")

    def stop_task(data: dict[str, Any]) -> Any:
        cluster = ecs._resolve_cluster_name(data.get("cluster", "default"))
        task = ecs._resolve_task(data.get("task", ""), cluster) if cluster else None
        answer = stop(data)
        if task and task.get("group", "").startswith("service:"):
            ecs._reconcile_service_tasks(cluster, f"{cluster}/{task['group'].split(':', 1)[1]}")
        return answer

    replace(actions, "StopTask", stop_task)
    for action, name in (("CreateService", "_create_service"), ("UpdateService", "_update_service")):
        handler = _with_numbers(original(ecs, name))
        replace(ecs, name, handler)  # CloudFormation calls it by this name
        replace(actions, action, handler)


def one_at_a_time(reconcile: Callable[[str, str], None]) -> Callable[[str, str], None]:
    """`reconcile` for a service, never in two threads at once; stopping a task inside comes back to it."""
    guard = threading.Lock()
    locks: dict[str, threading.RLock] = defaultdict(threading.RLock)

    def alone(cluster: str, service: str) -> None:
        with guard:
            lock = locks[service]
        with lock:
            reconcile(cluster, service)

    return alone


def _with_numbers(handler: Handler) -> Handler:
    def with_numbers(data: dict[str, Any]) -> Any:
        data = dict(data)
        if data.get("desiredCount") is not None:
            data["desiredCount"] = int(data["desiredCount"])
        configuration = data.get("deploymentConfiguration")
        if configuration:
            data["deploymentConfiguration"] = {
                key: int(value) if key in _PERCENTS else value for key, value in configuration.items()
            }
        data["loadBalancers"] = [
            entry | {"containerPort": int(entry["containerPort"])} if "containerPort" in entry else entry
            for entry in data["loadBalancers"] or []
        ] if "loadBalancers" in data else data.pop("loadBalancers", None)  # fmt: skip
        if data["loadBalancers"] is None:
            del data["loadBalancers"]
        return handler(data)

    return with_numbers


BRIDGE = Bridge("services", "stopped tasks are replaced, once, counts are numbers", install)
