"""`lisa status`: what runs, at a glance."""

from __future__ import annotations

import time

from lisa_local import processes
from lisa_local.bringup.models import ModelsApi
from lisa_local.bringup.users import Directory
from lisa_local.cloud import LocalCloud
from lisa_local.console import Problem, megabytes
from lisa_local.home import Home
from lisa_local.supervisor.control import Control


def show_status(home: Home) -> int:
    """Print the state of every component and model; 0 when all is well."""
    cloud = LocalCloud(home)
    running = Control(home).status()
    if running is None:
        print("The local cloud does not run: start it with `lisa up`.")
        return 3
    print(f"{'component':<20}{'state':<12}{'pid':>8}{'memory':>12}{'restarts':>10}   for")
    for name, report in running.components.items():
        pid = report["pid"]
        used = megabytes(processes.memory(processes.tree(pid))) if pid else "-"
        lasting = _duration(time.time() - report["since"])
        print(f"{name:<20}{report['state']:<12}{pid or '-':>8}{used:>12}{report['restarts']:>10}   {lasting}")
    total = processes.memory(processes.tree(running.pid))
    print(f"{'in all':<20}{'':<12}{running.pid:>8}{megabytes(total):>12}")
    healthy = running.ready and _show_models(cloud)
    url = cloud.config.url
    print(
        f"\nDocuments: drop files into s3://{cloud.output('DocumentsBucket')}/default/ (lisa documents push)"
    )
    print(f"{url} (quick start)  {url}/v1 (OpenAI API)  {url}/api (management)")
    return 0 if healthy else 1


def _show_models(cloud: LocalCloud) -> bool:
    try:
        models = ModelsApi(cloud, Directory(cloud).token("admin")).list()
    except Problem as problem:
        print(f"\nThe models are not known: {problem}")
        return False
    print(f"\n{'model':<32}{'status':<14}reason")
    for model in models:
        reason = (model.get("reason") or "").splitlines()
        print(f"{model['modelId']:<32}{model['status']:<14}{reason[0] if reason else ''}")
    return True


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
    )
