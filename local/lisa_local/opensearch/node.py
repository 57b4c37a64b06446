"""The server process: started, waited for, stopped, and never left behind."""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import subprocess
from pathlib import Path
from typing import IO

import psutil

from lisa_local import processes
from lisa_local.component import ComponentError
from lisa_local.opensearch import programs

logger = logging.getLogger("lisa.opensearch")

HOST = "127.0.0.1"
HEAP = "512m"
STOP_SECONDS = 25
# The end of its component has told it to stop before.
LEFTOVER_SECONDS = 10


class Node:
    """One OpenSearch server on loopback; its indices lie in `data`."""

    def __init__(self, data: Path, *, port: int = 0, heap: str = HEAP) -> None:
        self._data = data.absolute()
        self._heap = heap
        self._process: subprocess.Popen[str] | None = None
        self.port = port
        """0 until it listens where any free port was asked for."""

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def process(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise ComponentError("OpenSearch was not started.")
        return self._process

    def start(self, log: IO[bytes] | None = None) -> None:
        """Start the server; `log` takes what it says instead of our standard error.

        Raises:
            ComponentError: there are no programs for it, or another server holds the data and does not end.
        """
        home = programs.prepare()
        self._end_leftovers()
        self._require_port()
        temporary = self._data / "tmp"
        self._data.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary.mkdir(exist_ok=True, mode=0o700)
        java = programs.Java.find()
        command = [
            java.java,
            f"-Xms{self._heap}",
            f"-Xmx{self._heap}",
            # One collector thread: a small heap on a machine that has other things to do.
            "-XX:+UseSerialGC",
            "-XX:+ExitOnOutOfMemoryError",
            "-Dfile.encoding=UTF-8",
            "-Djava.awt.headless=true",
            f"-Djava.io.tmpdir={temporary}",
            f"-Djna.tmpdir={temporary}",
            "-Dio.netty.noUnsafe=true",
            "-Dio.netty.noKeySetOptimization=true",
            "-Dlog4j.shutdownHookEnabled=false",
            "-Dlog4j2.disable.jmx=true",
            self._mark,
            "-cp",
            f"{home}/launcher:{home}/lib/*",
            "LocalNode",
            str(home),
            str(self._data),
            str(self.port),
        ]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd="/",
            start_new_session=True,
            preexec_fn=processes.die_with_parent,  # noqa: PLW1509 - called before other threads run
        )

    def wait_until_ready(self) -> None:
        """Wait until the server answers, or has ended; blocking.

        Raises:
            ComponentError: it ended.
        """
        assert self.process.stdout is not None  # noqa: S101 - for the type checker
        words = self.process.stdout.readline().split()
        if words[:1] != ["listening"]:
            raise ComponentError(f"the server ended while it started, with code {self.process.wait()}.")
        self.port = int(words[1])

    def stop(self) -> None:
        """Close the indices and end; killed if that takes too long."""
        process = self._process
        if process is None:
            return
        for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, 5)):
            if process.poll() is None:
                process.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(seconds)
        if process.stdout is not None:
            process.stdout.close()

    @property
    def _mark(self) -> str:
        return f"-Dlisa.data={self._data}"

    def _require_port(self) -> None:
        """Asked here, for the server takes its time to find out."""
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, self.port))
            except OSError:
                raise ComponentError(f"port {self.port} is taken: choose another.") from None

    def _end_leftovers(self) -> None:
        """End a server that an earlier component left running on this data: it holds the lock."""
        left = [process for process in psutil.process_iter() if self._mark in _command(process)]
        for process in left:
            logger.warning("ending process %d of an earlier server", process.pid)
        processes.end(left, grace=LEFTOVER_SECONDS)
        if any(process.is_running() for process in left):
            raise ComponentError(f"another OpenSearch still runs on {self._data}: end process {left[0].pid}.")


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
