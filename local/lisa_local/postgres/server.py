"""The server process: started, prepared, stopped, and never left behind."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg2
from psycopg2 import sql

from lisa_local.component import ComponentError, Settings
from lisa_local.postgres.account import Account
from lisa_local.postgres.cluster import Credentials, data_folder

logger = logging.getLogger("lisa.postgres")

START_SECONDS = 60
STOP_SECONDS = 20

_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "256MB",
    "max_connections": "60",
    "jit": "off",
    "log_line_prefix": "%m [%p] ",
    "password_encryption": "scram-sha-256",
}


def _die_with_component() -> None:
    # SIGQUIT, not SIGKILL: the server then ends its own children at once and recovers at the next start.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGQUIT)


class Server:
    def __init__(
        self, settings: Settings, account: Account, credentials: Credentials, retrieval: Credentials
    ) -> None:
        self._account = account
        self._credentials = credentials
        self._retrieval = retrieval
        self._data = data_folder(settings)
        self._process: subprocess.Popen[bytes] | None = None

    def end_leftovers(self) -> None:
        """End a server that an earlier component left running on this data, and remove its lock file.

        The lock file alone says little: its process number may belong to another process by now, which keeps
        PostgreSQL from starting.

        Raises:
            ComponentError: it does not end.
        """
        for number in (signal.SIGQUIT, signal.SIGKILL):
            deadline = time.monotonic() + 5
            left = _processes_in(self._data)
            for pid in left:
                logger.warning("ending process %d of an earlier server", pid)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            while left and time.monotonic() < deadline:
                time.sleep(0.05)  # not our children: nothing to wait on
                left = _processes_in(self._data)
            if not left:
                break
        else:
            raise ComponentError(f"another PostgreSQL still runs on {self._data}: end process {left[0]}.")
        (self._data / "postmaster.pid").unlink(missing_ok=True)

    def start(self) -> None:
        """Start the server."""
        command = [str(self._account.programs / "postgres"), "-p", str(self._credentials.port)]
        for name, value in _OPTIONS.items():
            command += ["-c", f"{name}={value}"]
        with self._account.data(self._data) as (path, options):
            # This is the main thread, which ends with the process: see component.die_with_parent.
            self._process = subprocess.Popen(
                [*command, "-D", path],
                env=self._account.environment(),
                preexec_fn=_die_with_component,  # noqa: PLW1509 - no other thread runs yet
                start_new_session=True,
                **options,
            )

    async def ended(self) -> int:
        """The exit code, once the server has ended."""
        process = self._running()
        loop = asyncio.get_running_loop()
        over = loop.create_future()
        descriptor = os.pidfd_open(process.pid)
        loop.add_reader(descriptor, lambda: over.done() or over.set_result(None))
        try:
            await over
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
        return process.wait()

    def prepare(self) -> None:
        """Wait until the server answers, then make the database, its extension and its user; blocking.

        Raises:
            ComponentError: it does not answer in time, or refuses.
        """
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self._execute("postgres")
                break
            except psycopg2.OperationalError as error:
                if "password" in str(error):
                    raise ComponentError(
                        "PostgreSQL refuses the password in postgres.json: remove that file and start again."
                    ) from None
                if time.monotonic() > deadline or self._running().poll() is not None:
                    raise ComponentError(f"PostgreSQL does not answer: {str(error).strip()}") from None
                time.sleep(0.05)
        database = self._credentials.database
        if not self._execute(
            "postgres", sql.SQL("SELECT 1 FROM pg_database WHERE datname = {}").format(sql.Literal(database))
        ):
            self._execute("postgres", sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        self._execute(database, sql.SQL("CREATE EXTENSION IF NOT EXISTS vector"))
        self._admit_retrieval(database)

    def _admit_retrieval(self, database: str) -> None:
        """Retrieval signs in as a user who owns one schema and nothing else."""
        user = sql.Identifier(self._retrieval.user)
        known = sql.SQL("SELECT 1 FROM pg_roles WHERE rolname = {}").format(sql.Literal(self._retrieval.user))
        if not self._execute(database, known):
            self._execute(database, sql.SQL("CREATE ROLE {} LOGIN").format(user))
        for statement in (
            # Fewer than the server takes: somebody must still be able to look at it.
            sql.SQL("ALTER ROLE {} PASSWORD {} CONNECTION LIMIT 50").format(
                user, sql.Literal(self._retrieval.password)
            ),
            sql.SQL("CREATE SCHEMA IF NOT EXISTS retrieval AUTHORIZATION {}").format(user),
        ):
            self._execute(database, statement)

    def _execute(self, database: str, statement: sql.Composable | None = None) -> list[tuple[object, ...]]:
        connection = psycopg2.connect(
            host=self._credentials.host,
            port=self._credentials.port,
            user=self._credentials.user,
            password=self._credentials.password,
            dbname=database,
            connect_timeout=3,
        )
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                if statement is None:
                    return []
                cursor.execute(statement)
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()

    def stop(self) -> None:
        """Fast shutdown: sessions are ended, data is written; killed if that takes too long."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        for number, seconds in ((signal.SIGINT, STOP_SECONDS), (signal.SIGQUIT, 5), (signal.SIGKILL, 5)):
            process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
                return

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ComponentError("PostgreSQL was not started.")
        return self._process


def _processes_in(data: Path) -> list[int]:
    """PostgreSQL processes whose working folder is `data`; they never leave it."""
    if sys.platform != "linux":
        return []
    wanted = data.stat()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            folder = os.stat(entry / "cwd")
            name = (entry / "comm").read_text().strip()
        except OSError:
            continue
        if (folder.st_dev, folder.st_ino) == (wanted.st_dev, wanted.st_ino) and name == "postgres":
            found.append(int(entry.name))
    return found
