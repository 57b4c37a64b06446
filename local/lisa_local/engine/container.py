"""One container: a process with an address of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from lisa_local.component import Image, die_with_parent
from lisa_local.engine import labels

logger = logging.getLogger("lisa.engine")

KILL_SECONDS = 5.0
"""How long the kernel gets to remove a killed process."""


class StartError(Exception):
    """The container's process could not be started."""


@dataclass(eq=False)
class Container:
    """A process in a session (and process group) of its own, in the state Docker would report."""

    id: str
    name: str
    image_name: str
    image: Image
    address: str
    environment: Mapping[str, str]
    """The whole environment; nothing is inherited."""
    command: tuple[str, ...]
    labels: Mapping[str, str]
    log: Path
    raw: Mapping[str, Any] = field(default_factory=dict)
    """The body of the create call, for `inspect`."""
    created: float = field(default_factory=time.time)
    started: float | None = None
    finished: float | None = None
    exit_code: int | None = None
    oom_killed: bool = False
    """Killed by the kernel, not by us: on a small machine nearly always for want of memory."""
    process: subprocess.Popen[bytes] | None = None
    exited: asyncio.Event = field(default_factory=asyncio.Event)
    _stopping: bool = False

    @property
    def running(self) -> bool:
        return self.process is not None and not self.exited.is_set()

    @property
    def status(self) -> str:
        if self.process is None:
            return "created"
        return "running" if self.running else "exited"

    def launch(self) -> None:
        """Start the process.

        Raises:
            StartError: the command cannot be run.
        """
        if self.running:
            return
        self.exited.clear()
        self.exit_code = self.finished = None
        self._stopping = self.oom_killed = False
        try:
            with self.log.open("ab", buffering=0) as log:
                # Started by the main thread, so the parent-death signal means the engine's death.
                self.process = subprocess.Popen(
                    self.command,
                    env=dict(self.environment),
                    cwd=self.image.cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    preexec_fn=die_with_parent,  # noqa: PLW1509 - no other thread runs
                )
        except OSError as error:
            raise StartError(f"{self.image_name} cannot be started: {error}") from None
        self.started = time.time()
        self._watch(self.process)
        logger.info(
            "started %s (%s): process %d on %s", self.name, self.image_name, self.process.pid, self.address
        )

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """Notice the process's end, without a thread and without polling."""
        loop = asyncio.get_running_loop()
        descriptor = os.pidfd_open(process.pid)

        def ended() -> None:
            loop.remove_reader(descriptor)
            os.close(descriptor)
            code = process.wait()
            self.exit_code = code if code >= 0 else 128 - code
            self.oom_killed = code == -signal.SIGKILL and not self._stopping
            self.finished = time.time()
            self._signal_group(signal.SIGKILL)  # children that it left behind
            self.exited.set()
            logger.info("%s ended with exit code %d", self.name, self.exit_code)

        loop.add_reader(descriptor, ended)

    async def wait_ready(self) -> None:
        """Return when the container is ready as its labels define, when it has ended, or when time is up."""
        port = self.labels.get(labels.READY_PORT)
        if port is None:
            return
        ready = asyncio.create_task(self._answers(int(port), self.labels.get(labels.READY_PATH)))
        ended = asyncio.create_task(self.exited.wait())
        limit = float(self.labels.get(labels.READY_SECONDS, 10))
        try:
            await asyncio.wait((ready, ended), timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (ready, ended):
                task.cancel()
            await asyncio.gather(ready, ended, return_exceptions=True)

    async def _answers(self, port: int, path: str | None) -> None:
        while True:
            with contextlib.suppress(OSError, TimeoutError, aiohttp.ClientError):
                if path is None:
                    _, writer = await asyncio.open_connection(self.address, port)
                    writer.close()
                    return
                timeout = aiohttp.ClientTimeout(total=5)
                async with (
                    aiohttp.ClientSession(timeout=timeout) as session,
                    session.get(f"http://{self.address}:{port}{path}") as response,
                ):
                    if response.status < 300:
                        return
            await asyncio.sleep(0.1)

    async def stop(self, seconds: float) -> None:
        """Ask the process to end, and kill its group when it has not after `seconds`."""
        if not self.running:
            return
        self._stopping = True
        self._signal_group(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.exited.wait(), seconds)
            return
        await self.kill()

    async def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to the whole group; a kill is awaited."""
        if not self.running:
            return
        self._stopping = True
        self._signal_group(number)
        if number == signal.SIGKILL:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.exited.wait(), KILL_SECONDS)

    def _signal_group(self, number: int) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, number)

    def inspect(self) -> dict[str, Any]:
        """What `GET /containers/<id>/json` answers."""
        network = {"IPAddress": self.address, "NetworkID": "lisa", "Gateway": "127.0.0.1"}
        return {
            "Id": self.id,
            "Name": "/" + self.name,
            "Image": self.image_name,
            "Created": timestamp(self.created),
            "Path": self.command[0],
            "Args": list(self.command[1:]),
            "State": {
                "Status": self.status,
                "Running": self.running,
                "Paused": False,
                "Restarting": False,
                "OOMKilled": self.oom_killed,
                "Dead": False,
                "Pid": self.process.pid if self.process is not None and self.running else 0,
                "ExitCode": self.exit_code or 0,
                "Error": "",
                "StartedAt": timestamp(self.started),
                "FinishedAt": timestamp(self.finished),
            },
            "Config": {
                "Image": self.image_name,
                "Labels": dict(self.labels),
                "Env": [],  # holds secrets; nobody needs to read it back
                "Cmd": list(self.command),
                "Tty": False,
            },
            "HostConfig": {"LogConfig": {"Type": "json-file", "Config": {}}, "NetworkMode": "bridge"},
            "Mounts": [],
            "NetworkSettings": {"IPAddress": self.address, "Ports": {}, "Networks": {"lisa": network}},
        }

    def summary(self) -> dict[str, Any]:
        """One entry of `GET /containers/json`."""
        return {
            "Id": self.id,
            "Names": ["/" + self.name],
            "Image": self.image_name,
            "ImageID": self.image_name,
            "Command": " ".join(self.command),
            "Created": int(self.created),
            "State": self.status,
            "Status": self.status,
            "Labels": dict(self.labels),
            "NetworkSettings": {"Networks": {"lisa": {"IPAddress": self.address}}},
        }


def timestamp(seconds: float | None) -> str:
    if seconds is None:
        return "0001-01-01T00:00:00Z"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
