"""Processes of this machine: trees, memory, listening sockets, and ending them."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(sign: int = signal.SIGTERM) -> None:
    """Have the kernel send this process a signal when its parent ends, whatever ends it."""
    _libc.prctl(_PR_SET_PDEATHSIG, int(sign), 0, 0, 0)


def adopt_orphans() -> None:
    """Become the parent of descendants whose parent ends, so that none of them is lost."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@dataclass(frozen=True)
class Listener:
    address: str
    port: int
    pid: int | None


def tree(pid: int) -> list[psutil.Process]:
    """A process and all its descendants; empty when it does not exist."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def memory(processes: Iterable[psutil.Process]) -> int:
    """Bytes of memory in use; pages that processes share are counted once (proportional set size)."""
    total = 0
    for process in processes:
        try:
            total += _proportional_memory(process.pid) or process.memory_info().rss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total


def _proportional_memory(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def listeners(pids: set[int] | None = None) -> list[Listener]:
    """Listening TCP sockets, of all processes or of some."""
    found = []
    for connection in psutil.net_connections(kind="tcp"):
        wanted = pids is None or connection.pid in pids
        if wanted and connection.laddr and connection.status == psutil.CONN_LISTEN:
            found.append(Listener(connection.laddr.ip, connection.laddr.port, connection.pid))
    return found


def describe(pid: int | None) -> str:
    """A process as a person would know it."""
    if pid is None:
        return "another user's process"
    try:
        return f"process {pid} ({psutil.Process(pid).name()})"
    except psutil.NoSuchProcess:
        return f"process {pid}"


def end(processes: Iterable[psutil.Process], *, grace: float) -> list[psutil.Process]:
    """Ask processes to end, wait at most `grace` seconds, kill the rest; returns what had to be killed."""
    remaining = [process for process in processes if process.is_running()]
    for process in remaining:
        _signal(process, signal.SIGTERM)
    _, stubborn = psutil.wait_procs(remaining, timeout=grace)
    for process in stubborn:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(stubborn, timeout=5)
    return stubborn


def _signal(process: psutil.Process, sign: int) -> None:
    try:
        process.send_signal(sign)
    except psutil.NoSuchProcess:
        return


def belonging_to(home: Path) -> list[psutil.Process]:
    """Processes that carry this state folder's mark in their environment, whoever their parent is.

    The supervisor sets the mark; it finds what outlived a supervisor that was killed.
    """
    mark = f"LISA_CLOUD={home}"
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
            if mark.encode() in environment:
                found.append(psutil.Process(int(entry.name)))
        except (OSError, psutil.NoSuchProcess):
            continue
    return found
