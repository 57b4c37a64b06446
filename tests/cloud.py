"""A local cloud for tests: started by the command that people use, on ports and in a folder of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
from lisa_local import processes
from lisa_local.bringup.users import Directory
from lisa_local.cloud import Answer, LocalCloud
from lisa_local.home import Home
from lisa_local.supervisor.control import Cloud, Control

ROOT = Path(__file__).resolve().parents[1]
LISA = ROOT / ".venv" / "bin" / "lisa"
UP_SECONDS = 600
CHAT_MODEL = "smollm2-135m"
SETTINGS = ("LISA_", "AWS_", "OPENSEARCH")
"""What the variables begin with by which the caller would choose something for the cloud under test."""


class Session:
    """boto3's `Session.client`, with the operator's key and the cloud's endpoint."""

    def __init__(self, cloud: LocalCloud) -> None:
        self._cloud = cloud

    def client(self, service: str) -> Any:
        return self._cloud.client(service)


class TestCloud:
    """A local cloud in a state folder, driven by the command `lisa`."""

    __test__ = False

    def __init__(self, path: Path, ports: dict[str, int] | None = None) -> None:
        self.home = Home(path)
        self.control = Control(self.home)
        self._ports = ports or {}
        self.first_up: subprocess.CompletedProcess[str] | None = None

    # The command

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
        variables = {f"LISA_{name.upper()}": str(port) for name, port in self._ports.items()}
        return {**kept, **variables, "LISA_HOME": str(self.home.path)}

    def lisa(self, *arguments: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
        """Run `lisa` as a shell pipeline would: it must end although the cloud runs on."""
        return subprocess.run(
            [str(LISA), *arguments],
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def up(self) -> subprocess.CompletedProcess[str]:
        result = self.lisa("up", seconds=UP_SECONDS)
        if self.first_up is None:
            self.first_up = result
        assert result.returncode == 0, f"lisa up failed:\n{result.stdout}\n{result.stderr}"
        return result

    def down(self) -> subprocess.CompletedProcess[str]:
        result = self.lisa("down")
        assert result.returncode == 0, f"lisa down failed:\n{result.stdout}\n{result.stderr}"
        return result

    # What it offers

    @cached_property
    def local(self) -> LocalCloud:
        return LocalCloud(self.home)

    @property
    def url(self) -> str:
        return self.local.config.url

    @property
    def api_url(self) -> str:
        return f"{self.url}/api"

    @property
    def serve_url(self) -> str:
        return f"{self.url}/v1"

    @property
    def outputs(self) -> dict[str, str]:
        return self.local.outputs

    @property
    def session(self) -> Session:
        return Session(self.local)

    def token(self, name: str = "admin") -> str:
        return Directory(self.local).token(name)

    def call(self, method: str, path: str, *, user: str = "admin", body: Any = None) -> Answer:
        return self.local.call(method, path, token=self.token(user), body=body)

    def chat(self) -> Answer:
        """One short chat; an answer of 503 when nothing listens."""
        body = {"model": CHAT_MODEL, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}
        try:
            return self.call("POST", "/v1/chat/completions", user="alice", body=body)
        except Exception as error:  # while a component is down, each kind of error is the expected one
            return Answer(503, {"message": f"{type(error).__name__}: {error}"})

    # What runs

    def supervisor(self) -> Cloud:
        cloud = self.control.status()
        assert cloud is not None, "no supervisor runs"
        return cloud

    def component_pid(self, name: str) -> int | None:
        cloud = self.control.status()
        return cloud.components[name]["pid"] if cloud and cloud.components[name]["state"] == "ready" else None

    def processes(self) -> list[psutil.Process]:
        return processes.tree(self.supervisor().pid)

    def containers(self, words: str) -> list[psutil.Process]:
        """Processes of containers whose command holds these words."""
        engine = self.component_pid("engine")
        found = processes.tree(engine)[1:] if engine else []
        return [process for process in found if words in " ".join(_command(process))]

    def functions(self) -> list[psutil.Process]:
        """Workers of functions: the emulator's children."""
        emulator = self.component_pid("emulator")
        return processes.tree(emulator)[1:] if emulator else []


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def free_ports(*names: str) -> dict[str, int]:
    """A free port for each name; all are held until all are chosen, so that they differ."""
    sockets = {name: socket.socket() for name in names}
    try:
        for each in sockets.values():
            each.bind(("127.0.0.1", 0))
        return {name: each.getsockname()[1] for name, each in sockets.items()}
    finally:
        for each in sockets.values():
            each.close()


def new_cloud(path: Path) -> TestCloud:
    return TestCloud(path, free_ports("port", "emulator_port", "postgres_port", "opensearch_port"))


def eventually(what: str, condition: Callable[[], Any], *, within: float) -> Any:
    """Poll until a condition gives something true; the failure names what was awaited."""
    deadline = time.monotonic() + within
    while True:
        seen = condition()
        if seen:
            return seen
        assert time.monotonic() < deadline, f"{what} did not happen within {within:.0f} s"
        time.sleep(0.1)


def functions(cloud: TestCloud) -> list[dict[str, Any]]:
    """The configurations of all deployed functions."""
    pages = cloud.session.client("lambda").get_paginator("list_functions").paginate()
    return [each for page in pages for each in page["Functions"]]


def function(cloud: TestCloud, logical_id: str) -> dict[str, Any]:
    """A deployed function's configuration, by its name in the templates."""
    (found,) = [each for each in functions(cloud) if logical_id in each["FunctionName"]]
    return found


def modes(home: Home) -> dict[str, int]:
    """Permission bits of the files that hold secrets."""
    paths = (home.env, home.credentials, home.operator, home.config, home.path)
    return {path.name: path.stat().st_mode & 0o777 for path in paths}


def read_env(path: Path) -> dict[str, str]:
    """A file of `KEY=value` lines, as a shell reads it."""
    command = [
        "/bin/sh",
        "-c",
        'set -a; . "$1"; exec "$2" -c "import json, os; print(json.dumps(dict(os.environ)))"',
    ]
    result = subprocess.run(
        [*command, "sh", str(path), str(ROOT / ".venv/bin/python")],
        env={"PATH": os.defpath},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(result.stdout))
