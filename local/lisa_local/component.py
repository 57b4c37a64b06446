"""What every component of the local cloud shares: its settings, its log, how it starts and how it ends."""

from __future__ import annotations

import asyncio
import ctypes
import json
import logging
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1


class ComponentError(Exception):
    """A component cannot run: one sentence for the person at the terminal."""


@dataclass(frozen=True, slots=True)
class Image:
    """What stands for a container image on one machine."""

    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """`<home>/config.json`, which the supervisor writes before it starts a component."""

    home: Path
    instance: str
    region: str
    account: str
    door_port: int
    emulator_port: int
    postgres_port: int
    loopback_block: int
    images: Mapping[str, Image]
    prefix: str = ""
    opensearch_port: int = 0
    opensearch_heap: str = "512m"

    @classmethod
    def load(cls, home: Path) -> Settings:
        """Read the settings.

        Raises:
            ComponentError: the file is missing or is not what this version writes.
        """
        path = home / "config.json"
        try:
            stored: dict[str, Any] = json.loads(path.read_text())
            ports = stored["ports"]
            return cls(
                home=home.absolute(),
                instance=stored["instance"],
                region=stored.get("region", "us-east-1"),
                account=stored.get("account", "000000000000"),
                door_port=int(ports["door"]),
                emulator_port=int(ports["emulator"]),
                postgres_port=int(ports["postgres"]),
                loopback_block=int(stored["loopback_block"]),
                images={
                    name: Image(tuple(image["command"]), dict(image.get("env") or {}), image.get("cwd"))
                    for name, image in (stored.get("images") or {}).items()
                },
                prefix=(stored.get("prefix") or "").rstrip("/"),
                opensearch_port=int(ports.get("opensearch", 0)),
                opensearch_heap=str((stored.get("opensearch") or {}).get("heap", "512m")),
            )
        except FileNotFoundError:
            raise ComponentError(f"{path} does not exist: start the local cloud with `lisa up`.") from None
        except (KeyError, TypeError, ValueError) as error:
            raise ComponentError(f"{path} cannot be read ({error!r}): `lisa reset` starts afresh.") from None

    @property
    def emulator_url(self) -> str:
        return f"http://127.0.0.1:{self.emulator_port}"

    @property
    def emulator_socket(self) -> Path:
        return self.home / "emulator.sock"

    @property
    def engine_socket(self) -> Path:
        return self.home / "engine.sock"

    @property
    def deployment(self) -> Path:
        return self.home / "deployment.json"


def settings_from_arguments(component: str) -> Settings:
    """Settings of the state folder that the command line names; exits with a sentence otherwise."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: python -m lisa_local.{component} STATE_FOLDER")
    try:
        return Settings.load(Path(sys.argv[1]))
    except ComponentError as error:
        sys.exit(f"{component}: {error}")


def configure_logging(level: int = logging.INFO) -> None:
    """Log to stderr, which the supervisor keeps in `<home>/logs`."""
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True)


def announce_ready() -> None:
    """Tell the supervisor, on stdout, that this component answers."""
    print("ready", flush=True)


def stop_event() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set; call it on the loop."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    return stopping


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies; for `preexec_fn`, on Linux.

    The signal comes when the parent *thread* ends, so only a thread that lives as long as its process may
    start children this way.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read; readers see the old content or the new, never half."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    partial.replace(path)
