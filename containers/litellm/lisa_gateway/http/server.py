"""The HTTP/1.1 server in front.

Why not an ASGI server: see docs/decisions/0003-gateway-hot-path.md. Parsing is llhttp's, in its strict mode,
which refuses what request smuggling is made of (two lengths, a length beside chunks, bare line feeds, folded
headers). A request is handed over whole; a client that leaves cancels the task that serves it.
"""

import asyncio
import contextlib
import itertools
import os
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import cast

import httptools

from lisa_gateway.http.exchange import Exchange

MAX_HEAD_BYTES = 64 * 1024
KEEP_ALIVE_SECONDS = 910  # longer than the load balancers' idle time-out (900), so that they close first
REQUEST_SECONDS = 60  # a request that stops arriving for this long is given up
LINGER_SECONDS = 5  # how long a refused body is read and thrown away, so that the refusal arrives
SWEEP_SECONDS = 1.0
MAX_PIPELINED = 16


Handler = Callable[[Exchange], Awaitable[None]]
# What the server itself refuses: (exchange, status, what is wrong).
Refuser = Callable[[Exchange, int, str], None]


class Connection(asyncio.Protocol):
    """One client connection: requests one after the other, each in a task of its own."""

    __slots__ = (
        "_body",
        "_body_bytes",
        "_exchange",
        "_head_bytes",
        "_head_done",
        "_headers",
        "_parser",
        "_paused_writing",
        "_pausing",
        "_resuming",
        "_task",
        "_transport",
        "_url",
        "_waiting",
        "active_at",
        "lingering",
        "server",
    )

    def __init__(self, server: "Server") -> None:
        self.server = server
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._task: asyncio.Task[None] | None = None
        self._exchange: Exchange | None = None
        self._waiting: deque[Exchange] = deque()
        self._pausing: Callable[[], None] | None = None
        self._resuming: Callable[[], None] | None = None
        self._paused_writing = False
        self.lingering = False
        self.active_at = server.now
        self._reset()

    def _reset(self) -> None:
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._head_bytes = 0
        self._head_done = False

    # transport -> us

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in {socket.AF_INET, socket.AF_INET6}:
            # A stream's events are small: without this each waits for the acknowledgement of the last.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.gone(self)
        self._transport = None
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()

    def eof_received(self) -> bool:
        return False  # half-open clients are treated as gone

    def data_received(self, data: bytes) -> None:
        if self._head_done or not self._head_bytes:
            # The time to send the head counts from its first byte, however slowly the others come.
            self.active_at = self.server.now
        if self.lingering:
            return
        if not self._head_done:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # refused in on_headers_complete
        except httptools.HttpParserError as error:
            if not self.lingering:
                self._refuse(400, f"The request is not valid HTTP/1.1: {error}.")
        if not self._head_done and self._head_bytes > MAX_HEAD_BYTES and not self.lingering:
            self._refuse(431, f"The request's headers are larger than {MAX_HEAD_BYTES} bytes.")

    def pause_writing(self) -> None:
        self._paused_writing = True
        if self._pausing is not None:
            self._pausing()

    def resume_writing(self) -> None:
        self._paused_writing = False
        if self._resuming is not None:
            self._resuming()

    # parser -> us

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        known = self._headers.get(name)
        self._headers[name] = value if known is None else known + b", " + value

    def on_headers_complete(self) -> None:
        self._head_done = True
        if self._parser.should_upgrade():
            self._refuse(400, "Protocol upgrades are not supported.")
            return
        length = self._headers.get(b"content-length")
        if length is not None and int(length) > self.server.max_body_bytes:
            self._refuse(413, self._too_large())
        elif self._headers.get(b"expect", b"").lower() == b"100-continue":
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        if self.lingering:
            return
        self._body_bytes += len(data)
        if self._body_bytes > self.server.max_body_bytes:
            self._body.clear()
            self._refuse(413, self._too_large())
        else:
            self._body.append(data)

    def on_message_complete(self) -> None:
        if self.lingering:
            return
        exchange = self._take()
        if self._task is None:
            self._begin(exchange)
        else:
            self._waiting.append(exchange)
            if len(self._waiting) >= MAX_PIPELINED and self._transport is not None:
                self._transport.pause_reading()

    # requests

    def _take(self) -> Exchange:
        """What has been parsed becomes an exchange, and the next request starts empty."""
        path, _, query = self._url.partition(b"?")
        body = self._body
        parser = self._parser
        exchange = Exchange(
            self,
            parser.get_method(),
            path.decode("latin-1"),
            query.decode("latin-1"),
            self._headers,
            body[0] if len(body) == 1 else b"".join(body),
            parser.should_keep_alive() if self._head_done else False,
            parser.get_http_version() == "1.0" if self._head_done else False,
        )
        self._reset()
        return exchange

    def _begin(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._task = self.server.loop.create_task(self._serve(exchange))

    async def _serve(self, exchange: Exchange) -> None:
        try:
            await self.server.handler(exchange)
        finally:
            self._task = None
            self._exchange = None
            self._pausing = self._resuming = None
            if self._transport is not None:
                self._next(exchange)

    def _next(self, done: Exchange) -> None:
        transport = self._transport
        if transport is None:
            return
        if not done.keep_alive or self.server.draining:
            transport.close()
        elif self._waiting:
            self._begin(self._waiting.popleft())
            if not self._waiting:
                transport.resume_reading()

    def _too_large(self) -> str:
        return f"The request's body is larger than {self.server.max_body_bytes} bytes."

    def _refuse(self, status: int, why: str) -> None:
        """Answers before the request is complete, and reads on for a while so that the answer arrives.

        Closing at once would reset the connection while the client still writes, and lose the answer.
        """
        exchange = self._take()
        exchange.keep_alive = False
        self.lingering = True
        if self._task is None:
            self.server.refuser(exchange, status, why)
            if self._transport is not None:
                self._transport.write_eof()
        elif self._exchange is not None:
            # An answer before it is still under way: end after that one.
            self._exchange.keep_alive = False
        self.server.loop.call_later(LINGER_SECONDS, self.abort)

    # us -> transport

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def flow(self, pause: Callable[[], None] | None, resume: Callable[[], None] | None) -> None:
        self._pausing, self._resuming = pause, resume
        if pause is not None and self._paused_writing:
            pause()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def close_if_idle(self, now: float) -> None:
        """Ends a connection that has been silent for too long between requests or inside one."""
        if self._task is not None or self.lingering or self._transport is None:
            return
        inside = self._head_bytes > 0
        if now - self.active_at > (REQUEST_SECONDS if inside else KEEP_ALIVE_SECONDS):
            self._transport.close()

    def drain(self) -> None:
        """Closes when idle; else the answer under way ends the connection."""
        if self._task is None and self._transport is not None:
            self._transport.close()

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


class Server:
    """Listens, and keeps what all connections share."""

    def __init__(self, handler: Handler, refuser: Refuser, *, max_body_bytes: int) -> None:
        self.handler = handler
        self.refuser = refuser
        self.max_body_bytes = max_body_bytes
        self.connections: set[Connection] = set()
        self.draining = False
        self.now = time.monotonic()
        self.date = formatdate(usegmt=True).encode()
        self.loop: asyncio.AbstractEventLoop
        self._listener: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._emptied: asyncio.Event | None = None
        self._prefix = b"req-" + os.urandom(8).hex().encode() + b"-"
        self._counter = itertools.count(1)

    def next_id(self) -> bytes:
        """A request id that no other gateway gives out."""
        return b"%b%x" % (self._prefix, next(self._counter))

    async def listen(self, host: str, port: int) -> int:
        """Starts to accept connections; the port, for when 0 was asked for."""
        self.loop = asyncio.get_running_loop()
        self._listener = await self.loop.create_server(
            lambda: Connection(self), host, port, backlog=2048, reuse_address=True
        )
        self._sweep()
        port_used: int = self._listener.sockets[0].getsockname()[1]
        return port_used

    def gone(self, connection: Connection) -> None:
        self.connections.discard(connection)
        if self._emptied is not None and not self.connections:
            self._emptied.set()

    def _sweep(self) -> None:
        self.now = time.monotonic()
        self.date = formatdate(usegmt=True).encode()
        for connection in list(self.connections):
            connection.close_if_idle(self.now)
        self._sweeper = self.loop.call_later(SWEEP_SECONDS, self._sweep)

    async def close(self, grace: float) -> None:
        """Stops accepting, lets answers under way end for `grace` seconds, then cancels them."""
        self.draining = True
        if self._listener is not None:
            self._listener.close()
        for connection in list(self.connections):
            connection.drain()
        if self.connections:
            self._emptied = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await self._emptied.wait()
        for connection in list(self.connections):
            connection.cancel()
            connection.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()
