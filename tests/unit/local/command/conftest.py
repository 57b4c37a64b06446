"""A state folder, and a supervisor of small stand-in components: what is tested here is how they are run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from lisa_local import processes
from lisa_local.home import Home
from lisa_local.supervisor.control import Cloud, Control

# A component as small as the contract allows: it says `ready`, notes what happens to it, ends on SIGTERM.
COMPONENT = """
    import os, pathlib, signal, subprocess, sys, time
    name, home = sys.argv[1], pathlib.Path(sys.argv[2])
    journal = home / "journal"

    def note(text):
        with journal.open("a") as file:
            file.write(f"{name} {text}\\n")

    def stop(*_):
        note("stopped")
        sys.exit(0)

    signal.signal(signal.SIGTERM, stop)
    note("started")
    if (home / f"{name}.broken").exists():
        sys.exit("this component is broken")
    if (home / f"{name}.child").exists():
        command = [sys.executable, "-c", "import time; time.sleep(600)"]
        child = subprocess.Popen(command, start_new_session=True)
        (home / f"{name}.child").write_text(str(child.pid))
    print("ready", flush=True)
    while True:
        signal.pause()
"""

RUNNER = """
    import asyncio, os, sys
    from pathlib import Path
    from lisa_local.home import Home
    from lisa_local.processes import adopt_orphans
    from lisa_local.supervisor.daemon import Component, Supervisor

    home = Home(Path(sys.argv[1]))
    lock = home.supervisor_lock.open("a+")
    import fcntl
    fcntl.flock(lock, fcntl.LOCK_EX)
    adopt_orphans()

    def component(name, *needs):
        command = (sys.executable, str(home.path / "component.py"), name, str(home.path))
        return Component(name, command, needs=needs)

    environment = {"PATH": os.environ["PATH"], "LISA_CLOUD": str(home.path)}
    components = (component("postgres"), component("first"), component("second", "first"))
    asyncio.run(Supervisor(home, components, environment).run())
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    found = Home(tmp_path / "home")
    found.create()
    return found


class Harness:
    """A supervisor over stand-in components, and what can be seen of it."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.control = Control(home)
        (home.path / "component.py").write_text(textwrap.dedent(COMPONENT))
        (home.path / "runner.py").write_text(textwrap.dedent(RUNNER))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.home.logs / "supervisor.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(self.home.path / "runner.py"), str(self.home.path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def journal(self) -> list[str]:
        path = self.home.path / "journal"
        return path.read_text().splitlines() if path.exists() else []

    def wait(self, condition: Callable[[Cloud], bool], seconds: float = 20) -> Cloud:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            cloud = self.control.status()
            if cloud and condition(cloud):
                return cloud
            time.sleep(0.02)
        log = (self.home.logs / "supervisor.log").read_text()
        raise AssertionError(f"not reached: {self.control.status()}\n{log}")

    def wait_ready(self) -> Cloud:
        return self.wait(lambda cloud: cloud.ready)

    def end(self) -> None:
        if self.process:
            processes.end(processes.tree(self.process.pid), grace=5)
            self.process.wait(10)
        processes.end(processes.belonging_to(self.home.path), grace=1)


@pytest.fixture
def supervisor(home: Home) -> Iterator[Harness]:
    harness = Harness(home)
    yield harness
    harness.end()


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def write_config(home: Home) -> Callable[..., None]:
    def write(**changes: object) -> None:
        config = {
            "instance": "0a1b2c3d",
            "loopback_block": 10,
            "region": "us-east-1",
            "account": "000000000000",
            "ports": {"door": 8080, "emulator": 4566, "postgres": 15432},
            "prefix": "",
            **changes,
        }
        home.config.write_text(json.dumps(config))

    return write


@pytest.fixture(autouse=True)
def _no_settings_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("LISA_", "AWS_", "OPENSEARCH")):
            monkeypatch.delenv(name)
