"""Signing in to PostgreSQL, and what its failures mean to people."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Lock

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from lisa.errors import Unavailable

FRESH_SECONDS = 1.0
# A function that is frozen or dies in the middle of a transaction must not keep its locks.
_SESSION = "-c idle_in_transaction_session_timeout=60s -c statement_timeout=120s -c jit=off"

SLEEPS = "The database does not answer; it may be waking up. Try again in half a minute."


@dataclass(frozen=True, slots=True)
class Address:
    """`password` is asked for each time somebody signs in: it may have been changed, and tokens of IAM expire.

    `seconds` is how long one of the `tries` to connect may take: a database that sleeps wakes within 40.
    """

    host: str
    port: int
    database: str
    user: str
    password: Callable[[], str]
    encrypted: bool = True
    seconds: int = 40
    tries: int = 3


class Connections:
    """Connections that are lent to one thread each and used again."""

    def __init__(self, address: Address, prepare: Callable[[Connection], None] | None = None) -> None:
        """`prepare` is called once, with the first connection."""
        self._address = address
        self._prepare = prepare
        self._idle: list[tuple[Connection, float]] = []
        self._lock = Lock()
        self._preparing = Lock()

    @contextmanager
    def transaction(self, *, snapshot: bool = False) -> Iterator[Cursor]:
        """A cursor in a transaction that is committed when the block ends, and undone when it fails.

        With `snapshot` it only reads, and all its statements see the same state.

        Raises:
            Unavailable: the database is away or cannot do more at the moment.
        """
        connection = self._take()
        try:
            with _failures_for_people():
                connection.set_session(
                    isolation_level="REPEATABLE READ" if snapshot else "READ COMMITTED", readonly=snapshot
                )
                with connection, connection.cursor() as cursor:
                    yield cursor
        finally:
            self._give_back(connection)

    def close(self) -> None:
        """Ends what is not in use: a database with connections does not go to sleep."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection, _ in idle:
            with suppress(psycopg2.Error):
                connection.close()

    def _take(self) -> Connection:
        while True:
            with self._lock:
                if not self._idle:
                    break
                connection, since = self._idle.pop()
            if time.monotonic() - since < FRESH_SECONDS or _answers(connection):
                return connection
            connection.close()
        connection = self._connect()
        try:
            with self._preparing, _failures_for_people():
                if self._prepare is not None:
                    self._prepare(connection)
                    self._prepare = None
        except BaseException:
            connection.close()
            raise
        return connection

    def _give_back(self, connection: Connection) -> None:
        if not connection.closed:
            with self._lock:
                self._idle.append((connection, time.monotonic()))

    def _connect(self) -> Connection:
        address = self._address
        password = address.password()
        for attempt in range(address.tries):
            try:
                return psycopg2.connect(
                    host=address.host,
                    port=address.port,
                    dbname=address.database,
                    user=address.user,
                    password=password,
                    connect_timeout=address.seconds,
                    sslmode="require" if address.encrypted else "disable",
                    application_name="lisa",
                    options=_SESSION,
                    keepalives_idle=30,
                    tcp_user_timeout=30_000,
                )
            except psycopg2.OperationalError as error:
                if attempt + 1 == address.tries:
                    raise Unavailable(SLEEPS, retry_after=30) from error
        raise AssertionError  # there is a try at least


def _answers(connection: Connection) -> bool:
    """Whether the server is still there: it may have been restarted, or have ended a connection that slept."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        connection.rollback()
    except psycopg2.Error:
        return False
    return True


@contextmanager
def _failures_for_people() -> Iterator[None]:
    try:
        yield
    except (psycopg2.errors.SerializationFailure, psycopg2.errors.DeadlockDetected) as error:
        raise Unavailable("The database was busy with the same data. Try again.", retry_after=1) from error
    except psycopg2.errors.QueryCanceled as error:
        raise Unavailable("The database took too long. Try again later.", retry_after=30) from error
    except psycopg2.errors.DiskFull as error:
        raise Unavailable("The database's disk is full. Tell an administrator.") from error
    except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
        raise Unavailable(SLEEPS, retry_after=30) from error
