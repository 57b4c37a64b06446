"""All containers of an engine: names, addresses, environments."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import secrets
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lisa_local.component import Image, Settings
from lisa_local.engine import labels
from lisa_local.engine.container import Container

logger = logging.getLogger("lisa.engine")

MARK = "LISA_CONTAINER"
"""Environment variable of every process of a container: the cloud's instance and the container's id."""

PATIENT_SECONDS = 5
"""Who gives a container this long or longer means it to end well: ECS does, sweeps of leftovers do not."""

CLEAR_SECONDS = 10
"""How long containers get to end when all of them have to."""

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")

_LOGS_KEPT = 200
"""Log files of containers that are gone; the oldest are removed."""


class StoreError(Exception):
    """A request that cannot be met, with Docker's status for it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Store:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._containers: dict[str, Container] = {}
        self._names: dict[str, Container] = {}
        self._folder = settings.home / "engine"
        self._logs = settings.home / "logs" / "containers"
        self._closed = False
        for folder in (self._folder, self._logs, self._folder / "tmp", settings.home / "weights"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def __iter__(self) -> Iterator[Container]:
        return iter(list(self._containers.values()))

    def find(self, reference: str) -> Container:
        """A container by id, beginning of an id, or name.

        Raises:
            StoreError: there is none.
        """
        found = self._containers.get(reference) or self._names.get(reference.lstrip("/"))
        if found is None and len(reference) >= 6:
            found = next((each for key, each in self._containers.items() if key.startswith(reference)), None)
        if found is None:
            raise StoreError(404, f"No such container: {reference}")
        return found

    def image(self, reference: str) -> Image:
        """The image of a name, with or without a digest.

        Raises:
            StoreError: no command stands for it on this machine.
        """
        name = reference.partition("@")[0]
        image = self._settings.images.get(name)
        if image is None and ":" not in name.rpartition("/")[2]:
            # A digest took the tag's place; a repository has one image here.
            tagged = (each for key, each in self._settings.images.items() if key.rpartition(":")[0] == name)
            image = next(tagged, None)
        if image is None:
            known = ", ".join(sorted(self._settings.images)) or "none"
            raise StoreError(404, f"No such image: {reference}. Images on this machine: {known}.")
        return image

    def create(self, name: str | None, body: dict[str, Any]) -> Container:
        """Register a container without starting it.

        Raises:
            StoreError: unknown image, bad name, or a name in use.
        """
        if self._closed:
            raise StoreError(503, "The engine is stopping.")
        identifier = secrets.token_hex(32)
        name = name or identifier[:12]
        if not _NAME.fullmatch(name):
            raise StoreError(400, f"Invalid container name ({name}).")
        if name in self._names:
            raise StoreError(409, f'Conflict. The container name "/{name}" is already in use.')
        reference = str(body.get("Image") or "")
        image = self.image(reference)
        address = self._next_address()
        command = tuple(body.get("Entrypoint") or ()) + tuple(body.get("Cmd") or ())
        container = Container(
            id=identifier,
            name=name,
            image_name=reference,
            image=image,
            address=address,
            environment=self._environment(image, body.get("Env") or [], address, identifier),
            command=command or image.command,
            labels=dict(body.get("Labels") or {}),
            log=self._logs / f"{name}.log",
            raw=body,
        )
        self._remove_old_logs()
        self._containers[identifier] = container
        self._names[name] = container
        return container

    async def remove(self, container: Container) -> None:
        await container.kill()
        self._containers.pop(container.id, None)
        if self._names.get(container.name) is container:
            del self._names[container.name]

    async def clear(self) -> int:
        """End and forget every container; answers how many there were."""
        containers = list(self._containers.values())
        await asyncio.gather(
            *(each.stop(min(self.stop_seconds(each, 5), CLEAR_SECONDS)) for each in containers)
        )
        await asyncio.gather(*(self.remove(each) for each in containers))
        self.end_leftovers()
        return len(containers)

    def close(self) -> None:
        """Refuse new containers from now on."""
        self._closed = True

    @staticmethod
    def stop_seconds(container: Container, asked: float) -> float:
        """How long a container gets to end: what its definition says, unless the caller is in a hurry."""
        if asked < PATIENT_SECONDS:
            return asked
        return max(asked, float(container.labels.get(labels.STOP_SECONDS, 0)))

    def _environment(self, image: Image, env: list[str], address: str, identifier: str) -> dict[str, str]:
        home = self._folder / "tmp"
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(home),
            "TMPDIR": str(home),
            "LANG": "C.UTF-8",
            "LISA_WEIGHTS_DIR": str(self._settings.home / "weights"),
            **image.env,
            **dict(entry.split("=", 1) for entry in env if "=" in entry),
            "HOST": address,
            "HOSTNAME": identifier[:12],
            MARK: f"{self._settings.instance}:{identifier[:12]}",
        }

    def _next_address(self) -> str:
        """An address that was not used for a long time, not even before this engine's start.

        A balancer may hold an old address for a second; it must not reach another container there.
        """
        counter = self._folder / "last-address"
        try:
            number = int(counter.read_text())
        except (OSError, ValueError):
            number = secrets.randbelow(250 * 250)
        used = {container.address for container in self._containers.values()}
        while True:
            number = (number + 1) % (250 * 250)
            address = f"127.{self._settings.loopback_block}.{number // 250 + 1}.{number % 250 + 1}"
            if address not in used:
                break
        partial = counter.with_suffix(".partial")
        partial.write_text(str(number))
        partial.replace(counter)
        return address

    def _remove_old_logs(self) -> None:
        live = {container.log for container in self._containers.values()}
        logs = sorted(self._logs.glob("*.log"), key=_modified)
        for path in logs[: max(0, len(logs) - _LOGS_KEPT)]:
            if path not in live:
                path.unlink(missing_ok=True)

    def end_leftovers(self) -> None:
        """Kill processes of this cloud's containers that are not (any longer) ours, from an engine that died.

        Containers die with their engine, but their own children may not.
        """
        if sys.platform != "linux":
            return
        ours = {container.process.pid for container in self if container.process and container.running}
        mark = f"{MARK}={self._settings.instance}:".encode()
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            found = [pid for pid in _processes_with(mark) if not _in_sessions(pid, ours)]
            if not found:
                return
            for pid in found:
                logger.warning("ending process %d, left behind by a container of an earlier engine", pid)
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.05)  # for the kernel; the engine answers nobody yet


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _processes_with(mark: bytes) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if any(each.startswith(mark) for each in (entry / "environ").read_bytes().split(b"\0")):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def _in_sessions(pid: int, sessions: set[int]) -> bool:
    try:
        return os.getsid(pid) in sessions
    except ProcessLookupError:
        return True
