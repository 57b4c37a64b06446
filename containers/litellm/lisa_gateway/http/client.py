"""The HTTP/1.1 client towards model servers and LiteLLM: one request at a time on pooled connections."""

import asyncio
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import httptools

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 600.0  # to the head of the answer: a long completion that is not streamed
SILENCE_SECONDS = 300.0  # between two pieces of an answer
IDLE_SECONDS = 50.0  # below a load balancer's 60, so that it is we who close
MAX_IDLE = 256
SWEEP_SECONDS = 1.0
MAX_HEAD_BYTES = 64 * 1024


class UpstreamError(Exception):
    """The upstream could not be reached, or went away. `answered` says whether it had begun to answer."""

    def __init__(self, message: str, *, answered: bool = False, reused: bool = False) -> None:
        super().__init__(message)
        self.answered = answered
        self.reused = reused


class UpstreamTimeout(UpstreamError):
    """The upstream was silent for too long."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a connection goes: a host and port, or a unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""


class UpstreamConnection(asyncio.Protocol):
    """A connection to an upstream, with the answer it is receiving.

    `call` sends a request and returns when the head of the answer is there; the body then comes by `read`
    (whole) or `stream` (piece by piece, as it arrives). Whoever took the connection from the pool gives it
    back by `release`, which closes it unless the answer is complete.
    """

    __slots__ = (
        "_answered",
        "_body_wanted",
        "_closed",
        "_failure",
        "_framed",
        "_head_wanted",
        "_parser",
        "_pieces",
        "_pool",
        "_sink",
        "_transport",
        "_waiter",
        "address",
        "complete",
        "deadline",
        "headers",
        "idle_since",
        "reused",
        "status",
    )

    def __init__(self, pool: "Pool", address: Address) -> None:
        self._pool = pool
        self.address = address
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._sink: Callable[[bytes], None] | None = None
        self._pieces: list[bytes] = []
        self._failure: UpstreamError | None = None
        self._answered = False
        self._framed = False
        self._head_wanted = False
        self._body_wanted = False
        self._closed = False
        self.reused = False
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.complete = True
        self.deadline = 0.0
        self.idle_since = 0.0

    # what the gateway uses

    async def call(self, request: bytes) -> None:
        """Sends the request; returns when `status` and `headers` are there. Raises UpstreamError."""
        if self._closed or self._transport is None:
            raise UpstreamError("the connection was closed", reused=self.reused)
        self.complete = False
        self._answered = self._framed = False
        self._failure = None
        self._sink = None
        self._pieces = []
        self.status = 0
        self.headers = {}
        self.deadline = self._pool.now + ANSWER_SECONDS
        self._head_wanted = True
        self._transport.write(request)
        await self._wait()
        self._head_wanted = False

    async def read(self) -> bytes:
        """The rest of the body."""
        while not self.complete:
            await self._wait()
        pieces, self._pieces = self._pieces, []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def beginning(self, mark: bytes) -> bytes:
        """The body as far as it has come, once it holds `mark` or is whole; `stream` and `read` still give all of it.

        Raises UpstreamError when the upstream goes away before that.
        """
        self._body_wanted = True
        try:
            while True:
                self._pieces = [b"".join(self._pieces)]
                if self.complete or mark in self._pieces[0]:
                    return self._pieces[0]
                await self._wait()
        finally:
            self._body_wanted = False

    async def stream(self, sink: Callable[[bytes], None]) -> None:
        """Hands every piece of the body to `sink` as it comes; returns at the end."""
        pieces, self._pieces = self._pieces, []
        if pieces:
            sink(b"".join(pieces))
        self._sink = sink
        while not self.complete:
            await self._wait()

    def pause(self) -> None:
        if self._transport is not None and not self._closed:
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._transport is not None and not self._closed:
            self._transport.resume_reading()
            self.deadline = self._pool.now + SILENCE_SECONDS

    @property
    def reusable(self) -> bool:
        return self.complete and not self._closed

    def abort(self) -> None:
        """Closes at once; this is how an upstream learns that nobody waits any more."""
        if not self._closed and self._transport is not None:
            self._closed = True
            self._transport.abort()

    async def _wait(self) -> None:
        if self._failure is not None:
            raise self._failure
        self._waiter = self._pool.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def fail(self, error: UpstreamError) -> None:
        if self.complete:
            return
        self._failure = error
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)
        self.abort()

    # transport -> us

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in {socket.AF_INET, socket.AF_INET6}:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._pool.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True
        self._pool.forget(self)
        if self.complete:
            return
        if self.status and not self._framed:
            # RFC 9112, 6.3: without a length or chunks, the end of the connection is the end of the body.
            self._end()
        else:
            self.fail(
                UpstreamError(
                    "the upstream closed the connection", answered=self._answered, reused=self.reused
                )
            )

    def data_received(self, data: bytes) -> None:
        if self.complete:
            self.abort()  # nobody asked: what comes cannot be the answer to the next request
            return
        self._answered = True
        self.deadline = self._pool.now + SILENCE_SECONDS
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.fail(UpstreamError(f"the upstream does not speak HTTP/1.1: {error}", answered=True))
            return
        sink = self._sink
        if sink is not None and self._pieces:
            pieces, self._pieces = self._pieces, []
            sink(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if self.status and (self._head_wanted or self._body_wanted):
            self._wake()

    # parser -> us

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        status: int = self._parser.get_status_code()
        if status < 200:  # an interim answer; the real one follows
            self.headers = {}
            return
        headers = self.headers
        self._framed = b"content-length" in headers or b"transfer-encoding" in headers
        self.status = status

    def on_body(self, data: bytes) -> None:
        self._pieces.append(data)

    def on_message_complete(self) -> None:
        if not self.status:
            return
        if not self._parser.should_keep_alive():
            self._closed = True
            if self._transport is not None:
                self._transport.close()
        self._end()

    def _end(self) -> None:
        self.complete = True
        sink = self._sink
        if sink is not None and self._pieces:
            pieces, self._pieces = self._pieces, []
            sink(b"".join(pieces))
        self._wake()


class Pool:
    """Connections to all upstreams, kept alive between requests."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.now = time.monotonic()
        self.connections: set[UpstreamConnection] = set()
        self._idle: dict[Address, deque[UpstreamConnection]] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._sweep()

    def take(self, address: Address) -> UpstreamConnection | None:
        """An idle connection, the one used last first, or None."""
        idle = self._idle.get(address)
        while idle:
            connection = idle.pop()
            if connection.reusable:
                connection.reused = True
                return connection
        return None

    async def connect(self, address: Address) -> UpstreamConnection:
        """A new connection; raises UpstreamError."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                connection: Any
                if address.path:
                    _, connection = await self.loop.create_unix_connection(
                        lambda: UpstreamConnection(self, address), address.path
                    )
                else:
                    _, connection = await self.loop.create_connection(
                        lambda: UpstreamConnection(self, address), address.host, address.port
                    )
        except TimeoutError:
            raise UpstreamTimeout("no connection in time") from None
        except OSError as error:
            raise UpstreamError(f"no connection: {error.strerror or error}") from None
        return cast(UpstreamConnection, connection)

    def release(self, connection: UpstreamConnection) -> None:
        """Takes a connection back; one whose answer is not complete is closed, which cancels the call."""
        if not connection.reusable:
            connection.abort()
            return
        idle = self._idle.get(connection.address)
        if idle is None:
            idle = self._idle[connection.address] = deque()
        if len(idle) >= MAX_IDLE:
            connection.abort()
            return
        connection.idle_since = self.now
        idle.append(connection)

    def forget(self, connection: UpstreamConnection) -> None:
        self.connections.discard(connection)
        idle = self._idle.get(connection.address)
        if idle is not None and connection in idle:
            idle.remove(connection)
            if not idle:
                del self._idle[connection.address]

    def _sweep(self) -> None:
        self.now = time.monotonic()
        for connection in list(self.connections):
            if not connection.complete:
                if self.now > connection.deadline:
                    connection.fail(UpstreamTimeout("the upstream was silent for too long"))
            elif connection.idle_since and self.now - connection.idle_since > IDLE_SECONDS:
                connection.abort()
        self._sweeper = self.loop.call_later(SWEEP_SECONDS, self._sweep)

    def close(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self.connections):
            connection.abort()
