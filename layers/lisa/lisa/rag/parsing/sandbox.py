"""Parses in a process that can do no harm: without credentials, with bounded memory and time.

`child.py` stands ready and makes a process for each file (a fork, milliseconds), so that no file meets another's
leftovers and what was allocated is given back. Pipes are all that is needed: Lambda has no shared memory.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from typing import IO

from lisa.rag.parsing.document import DocumentRefused, Limits, ParsedDocument
from lisa.rag.parsing.kinds import Kind

# The child ends what takes too long; if it does not, it is ended with it.
GRACE_SECONDS = 5.0
START_SECONDS = 30.0
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "SYSTEMROOT")
_ROOM = 64 << 10


class Child:
    """The process that stands ready. It is started when first needed and again after it was ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def ask(self, data: bytes, kind: Kind, limits: Limits) -> bytes:
        """The answer of the child, which is JSON. Raises DocumentRefused when there is none."""
        with self._lock:
            if self._process is None or self._process.poll() is not None or self._owner != os.getpid():
                self._start()
            process = self._process
            if process is None or process.stdin is None or process.stdout is None:
                raise RuntimeError("the parser's process has no pipes")
            request = (
                json.dumps({"kind": asdict(kind), "limits": asdict(limits), "size": len(data)}).encode()
                + b"\n"
            )
            deadline = time.monotonic() + limits.seconds + GRACE_SECONDS + START_SECONDS
            try:
                _send(process.stdin, request, data, deadline)
                size = int.from_bytes(_receive(process.stdout, 8, deadline), "big")
                return _receive(process.stdout, size, deadline)
            except (OSError, EOFError, TimeoutError):
                self._end(process)
                raise DocumentRefused(
                    "Reading the file took too much time or memory.", "too_complex"
                ) from None

    def close(self) -> None:
        with self._lock:
            if self._process is not None and self._owner == os.getpid():
                self._end(self._process)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def _start(self) -> None:
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        # Threads of a library would each take memory of the bounded address space.
        environment["OMP_NUM_THREADS"] = environment["OPENBLAS_NUM_THREADS"] = "1"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lisa.rag.parsing.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # a group of its own, to be ended together
        )
        self._owner = os.getpid()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._process = None


def _send(pipe: IO[bytes], head: bytes, data: bytes, deadline: float) -> None:
    for part in (memoryview(head), memoryview(data)):
        sent = 0
        while sent < len(part):
            _wait(pipe, select.POLLOUT, deadline)
            sent += os.write(pipe.fileno(), part[sent : sent + _ROOM])


def _receive(pipe: IO[bytes], size: int, deadline: float) -> bytes:
    parts: list[bytes] = []
    missing = size
    while missing:
        _wait(pipe, select.POLLIN, deadline)
        part = os.read(pipe.fileno(), min(missing, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _wait(pipe: IO[bytes], event: int, deadline: float) -> None:
    poll = select.poll()
    poll.register(pipe, event)
    if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        raise TimeoutError


_child = Child()


def parse(data: bytes, kind: Kind, limits: Limits) -> ParsedDocument:
    """Raises DocumentRefused."""
    answer = _child.ask(data, kind, limits)
    if answer[:1] == b"{":
        return ParsedDocument.loads(answer)
    reason, code = json.loads(answer)
    raise DocumentRefused(reason, code)
