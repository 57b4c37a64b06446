"""What must hold before a local cloud starts; each failure is one sentence with its mend."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass

import psutil

from lisa_local import processes
from lisa_local.component import ComponentError
from lisa_local.config import PORT_VARIABLES, Config
from lisa_local.console import Problem
from lisa_local.home import ROOT, Home
from lisa_local.opensearch import programs

NEEDED_DISK = 1_500_000_000
NEEDED_MEMORY = 2_500_000_000
ENVIRONMENTS = (".venvs/sam/bin/sam", ".venvs/gateway/bin/python", ".venvs/model/bin/python")


@dataclass(frozen=True)
class Check:
    """One finding: `mend` is empty when all is well."""

    name: str
    finding: str
    mend: str = ""

    @property
    def passed(self) -> bool:
        return not self.mend


def python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    supported = (3, 11) <= sys.version_info[:2] <= (3, 13)
    mend = "" if supported else "set it up with Python 3.11, 3.12 or 3.13: make up PYTHON=/path/to/python3.12"
    return Check("Python", version, mend)


def system() -> Check:
    linux = sys.platform == "linux"
    return Check("System", sys.platform, "" if linux else "run it on Linux, or in a Linux virtual machine")


def tools() -> Check:
    missing = [path for path in ENVIRONMENTS if not (ROOT / path).exists()]
    if missing:
        return Check("Tools", f"{', '.join(missing)} missing", "run `make setup`")
    if shutil.which("make") is None:
        return Check(
            "Tools", "make is not on the PATH", "install it (Debian and Ubuntu: apt-get install make)"
        )
    return Check("Tools", "complete")


def disk(home: Home) -> Check:
    folder = next(parent for parent in (home.path, *home.path.parents) if parent.exists())
    free = shutil.disk_usage(folder).free
    enough = free >= NEEDED_DISK
    mend = (
        ""
        if enough
        else f"free at least {NEEDED_DISK / 1e9:.1f} GB, or set LISA_HOME to a folder on another disk"
    )
    return Check("Disk", f"{free / 1e9:.1f} GB free at {folder}", mend)


def memory() -> Check:
    available = psutil.virtual_memory().available
    enough = available >= NEEDED_MEMORY
    mend = "" if enough else f"end other programs: LISA and its two models need {NEEDED_MEMORY / 1e9:.1f} GB"
    return Check("Memory", f"{available / 1e9:.1f} GB available", mend)


def writable(home: Home) -> Check:
    try:
        home.create()
        probe = home.path / ".probe"
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        return Check(
            "State folder",
            f"{home.path}: {error.strerror}",
            "set LISA_HOME to a folder that you may write to",
        )
    return Check("State folder", str(home.path))


def ports(config: Config, *, owned: set[int]) -> list[Check]:
    """One check a port; `owned` are the processes of this cloud, which may hold theirs."""
    in_use = {listener.port: listener for listener in processes.listeners() if _on_loopback(listener.address)}
    found = []
    for name, variable in PORT_VARIABLES.items():
        if name == "opensearch" and not config.opensearch.node:
            continue
        port = getattr(config.ports, name)
        holder = in_use.get(port)
        if holder is None or holder.pid in owned:
            found.append(Check(f"Port {port}", "free" if holder is None else "ours"))
        else:
            mend = f"end it, or choose another port: {variable}={port + 10} make up"
            found.append(Check(f"Port {port}", f"in use by {processes.describe(holder.pid)}", mend))
    return found


def _on_loopback(address: str) -> bool:
    return address in {"127.0.0.1", "0.0.0.0", "::", "::1", "::ffff:127.0.0.1"}  # noqa: S104 - compared, not bound


def opensearch(config: Config) -> list[Check]:
    """What a node of ours needs; nothing where there is none."""
    if not config.opensearch.node:
        return []
    try:
        programs.require_tools()
    except ComponentError as error:
        return [Check("OpenSearch", "it cannot run here", f"{error}".rstrip("."))]
    return [Check("OpenSearch", f"Java and the programs of {programs.VERSION}")]


def all_checks(home: Home, config: Config, *, owned: set[int]) -> list[Check]:
    return [
        system(),
        python(),
        tools(),
        writable(home),
        disk(home),
        *ports(config, owned=owned),
        *opensearch(config),
    ]


def require(found: list[Check]) -> None:
    """Raise for what failed.

    Raises:
        Problem: one line for each failed check.
    """
    failed = [check for check in found if not check.passed]
    if failed:
        raise Problem("\n".join(f"{check.name}: {check.finding}; {check.mend}." for check in failed))
