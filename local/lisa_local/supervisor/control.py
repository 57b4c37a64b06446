"""Talks to the supervisor: start it, ask it, stop it."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

import psutil

from lisa_local import processes
from lisa_local.console import Problem
from lisa_local.home import Home
from lisa_local.supervisor import logfiles

ORDER = ("postgres", "opensearch", "engine", "emulator", "door")
START_SECONDS = {"opensearch": 200.0}
OTHERS_START_SECONDS = 90.0
STOP_SECONDS = 100.0


@dataclass(frozen=True)
class Cloud:
    """What the supervisor answers."""

    pid: int
    stopping: bool
    components: dict[str, dict[str, Any]]

    @property
    def ready(self) -> bool:
        return not self.stopping and all(report["state"] == "ready" for report in self.components.values())


class Control:
    def __init__(self, home: Home) -> None:
        self._home = home

    def status(self) -> Cloud | None:
        """What the supervisor says, or None when none runs."""
        return self._ask("status")

    def running(self) -> bool:
        """Whether a supervisor holds the lock, be it starting, running or stopping."""
        try:
            with self._home.supervisor_lock.open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def start(self) -> None:
        """Start the supervisor, apart from this terminal: it must not hold the caller's pipes open."""
        self._home.create()
        with (self._home.logs / "supervisor.log").open("ab") as log:
            subprocess.Popen(
                [sys.executable, "-m", "lisa_local.supervisor", str(self._home.path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
            )

    def wait_for(self, component: str) -> None:
        """Wait until a component is ready.

        Raises:
            Problem: it failed, with its last words.
        """
        deadline = time.monotonic() + START_SECONDS.get(component, OTHERS_START_SECONDS)
        while time.monotonic() < deadline:
            cloud = self.status()
            if cloud is None:
                if not self.running() and not self._just_started():
                    raise Problem(self._last_words("supervisor"))
            else:
                report = cloud.components[component]
                if report["state"] == "ready":
                    return
                if report["failures"] > 1 and not report["ever_ready"]:
                    raise Problem(self._last_words(component))
            time.sleep(0.05)
        raise Problem(self._last_words(component))

    def stop(self, *, seconds: float = STOP_SECONDS) -> list[str]:
        """Stop everything in order; returns the names of processes that had to be killed.

        Nothing that belongs to the state folder is left, even if the supervisor itself was killed before.
        """
        killed = []
        if self.running() or self.status():
            supervisor = self._ask("stop")
            deadline = time.monotonic() + seconds
            # The lock is let go a moment before its holder has ended.
            while time.monotonic() < deadline and (self.running() or (supervisor and _runs(supervisor.pid))):
                time.sleep(0.05)
        for process in processes.end(processes.belonging_to(self._home.path), grace=20):
            killed.append(processes.describe(process.pid))
        return killed

    def _just_started(self) -> bool:
        """A supervisor that has not taken its lock yet is a child of ours."""
        return any("lisa_local.supervisor" in _command(child) for child in psutil.Process().children())

    def _last_words(self, component: str) -> str:
        lines = logfiles.last_lines(self._home.logs / f"{component}.log", 12)
        # A component that is tried again says the same again.
        distinct = list(dict.fromkeys(line for line in lines if line.strip()))[-6:]
        words = "".join(f"\n    {line}" for line in distinct)
        return f"{component} does not start; its log ends with:{words}\nAll of it: lisa logs {component}"

    def _ask(self, request: str) -> Cloud | None:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(10)
                connection.connect(os.fspath(self._home.supervisor_socket))
                connection.sendall(json.dumps({"do": request}).encode() + b"\n")
                with connection.makefile("rb") as answers:
                    answer = json.loads(answers.readline())
        except (OSError, ValueError):
            return None
        return Cloud(answer["pid"], answer["stopping"], answer["components"])


def _runs(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()) if process.status() != psutil.STATUS_ZOMBIE else ""
    except psutil.NoSuchProcess:
        return ""
