"""`lisa doctor`: what is wrong, and how to mend it."""

from __future__ import annotations

import stat

from lisa_local import processes
from lisa_local.bringup import checks
from lisa_local.bringup.checks import Check
from lisa_local.bringup.users import USERS, Directory
from lisa_local.cloud import LocalCloud
from lisa_local.config import Config
from lisa_local.console import Problem
from lisa_local.home import Home
from lisa_local.supervisor.control import Cloud, Control


def examine(home: Home) -> int:
    """Print every finding; 0 when nothing needs mending."""
    config = Config.prepare(home)
    running = Control(home).status()
    owned = {process.pid for process in processes.tree(running.pid)} if running else set()
    found = checks.all_checks(home, config, owned=owned)
    if running is None:
        found.append(checks.memory())
        leftovers = processes.belonging_to(home.path)
        if leftovers:
            names = ", ".join(processes.describe(process.pid) for process in leftovers)
            found.append(Check("Left-over processes", names, "`lisa down` ends them"))
        found.append(Check("Local cloud", "not running"))
    else:
        found += [*_components(running), *_secrets(home), *_deployment(home)]
    for check in found:
        print(f"  {'ok' if check.passed else '!!':<4}{check.name:<20}{check.finding}")
        if not check.passed:
            print(f"      {'':<20}{check.mend}")
    return 0 if all(check.passed for check in found) else 1


def _components(running: Cloud) -> list[Check]:
    found = []
    for name, report in running.components.items():
        mend = "" if report["state"] == "ready" else f"`lisa logs {name}` says why"
        found.append(Check(name, f"{report['state']}, {report['restarts']} restarts", mend))
    return found


def _secrets(home: Home) -> list[Check]:
    found = []
    for path in (home.env, home.credentials, home.operator):
        if path.exists():
            mode = stat.S_IMODE(path.stat().st_mode)
            mend = f"chmod 600 {path}" if mode & 0o077 else ""
            found.append(Check(path.name, f"mode {mode:o}", mend))
    return found


def _deployment(home: Home) -> list[Check]:
    cloud = LocalCloud(home)
    found = []
    try:
        for user in USERS:
            Directory(cloud).token(user.name)
        found.append(Check("Sign-in", ", ".join(user.name for user in USERS)))
    except Problem as problem:
        return [Check("Sign-in", str(problem), "run `lisa up`")]
    try:
        answer = cloud.call("GET", "/health/readiness", timeout=5)
        mend = "" if answer.status == 200 else "`lisa logs gateway` says why"
        found.append(Check("Gateway", f"answers {answer.status}", mend))
    except OSError as error:
        found.append(Check("Gateway", str(error), "`lisa logs door` says why"))
    return found
