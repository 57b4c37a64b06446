"""The state folder: everything that one local cloud writes lies in it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lisa_local.console import Problem

ROOT = Path(__file__).resolve().parents[2]
"""The checkout: templates, functions and virtual environments lie here."""

# sun_path of a Unix socket holds 108 bytes with the terminating zero; our longest name is "supervisor.sock".
_LONGEST_HOME = 107 - len("/supervisor.sock")


@dataclass(frozen=True)
class Home:
    """Names of the files in a state folder."""

    path: Path

    @classmethod
    def locate(cls) -> Home:
        """`LISA_HOME`, else `.lisa` in the checkout.

        Raises:
            Problem: the path is too long for a Unix socket in it.
        """
        path = Path(os.environ.get("LISA_HOME") or ROOT / ".lisa").expanduser().absolute()
        if len(os.fsencode(path)) > _LONGEST_HOME:
            raise Problem(
                f"The state folder's path is too long for a socket ({len(os.fsencode(path))} bytes, at most "
                f"{_LONGEST_HOME}): set LISA_HOME to a shorter one, e.g. LISA_HOME=~/.lisa."
            )
        return cls(path)

    @property
    def config(self) -> Path:
        return self.path / "config.json"

    @property
    def deployment(self) -> Path:
        return self.path / "deployment.json"

    @property
    def operator(self) -> Path:
        return self.path / "operator.json"

    @property
    def credentials(self) -> Path:
        return self.path / "credentials"

    @property
    def retrieval(self) -> Path:
        """The database's address and retrieval's own user of it."""
        return self.path / "postgres-retrieval.json"

    @property
    def opensearch(self) -> Path:
        """User and password that OPENSEARCH_URL came with."""
        return self.path / "opensearch.json"

    @property
    def env(self) -> Path:
        return self.path / "env"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def container_logs(self) -> Path:
        return self.logs / "containers"

    @property
    def temporary(self) -> Path:
        return self.path / "tmp"

    @property
    def build(self) -> Path:
        return self.path / "sam"

    @property
    def engine_socket(self) -> Path:
        return self.path / "engine.sock"

    @property
    def supervisor_socket(self) -> Path:
        return self.path / "supervisor.sock"

    @property
    def supervisor_lock(self) -> Path:
        return self.path / "supervisor.lock"

    def create(self) -> None:
        """Make the folder, closed to other users: keys and passwords lie in it."""
        for folder in (self.path, self.logs):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    @contextlib.contextmanager
    def command_lock(self, command: str) -> Iterator[None]:
        """Let one command at a time change this cloud.

        Raises:
            Problem: another command holds the lock.
        """
        self.create()
        with (self.path / "command.lock").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                raise Problem(
                    f"`{lock.read().strip() or 'another lisa command'}` is still at work on {self.path}: "
                    "wait for it to end, or end it with Ctrl-C."
                ) from None
            lock.truncate(0)
            lock.write(f"lisa {command} (process {os.getpid()})")
            lock.flush()
            yield
            lock.truncate(0)


def read_json(path: Path) -> Any:
    """The content of a JSON file, or None when it does not exist.

    Raises:
        Problem: the file is not JSON.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError:
        raise Problem(f"{path} is damaged: `lisa reset` starts afresh.") from None
