"""A client's connection to the HTTP/1.1 server in front.

Why not an ASGI server: see docs/decisions/0003-gateway-hot-path.md. Parsing is llhttp's, in its strict mode,
which refuses what request smuggling is made of (two lengths, a length beside chunks, bare line feeds, folded
headers). A request is handed over whole, save for forms to `upload_paths`, whose bodies may be larger than what is
held; a client that leaves cancels the task that serves it.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import httptools
from lisa.errors import LisaError, PayloadTooLarge

from lisa_gateway.http.exchange import Exchange
from lisa_gateway.http.incoming import Incoming

if TYPE_CHECKING:
    from lisa_gateway.http.server import Server

MAX_HEAD_BYTES = 64 * 1024
KEEP_ALIVE_SECONDS = 910  # longer than the load balancers' idle time-out (900), so that they close first
REQUEST_SECONDS = 60  # a request that stops arriving for this long is given up
LINGER_SECONDS = 5  # how long a refused body is read and thrown away, so that the refusal arrives
MAX_PIPELINED = 16


class Connection(asyncio.Protocol):
    """One client connection: requests one after the other, each in a task of its own."""

    __slots__ = (
        "_body",
        "_body_bytes",
        "_exchange",
        "_head_bytes",
        "_head_done",
        "_headers",
        "_incoming",
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
        self._incoming: Incoming | None = None
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
        if length is not None and int(length) > self.server.max_body_bytes and not self._is_upload():
            self._refuse(413, self._too_large())
            return
        if self._headers.get(b"expect", b"").lower() == b"100-continue":
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self._task is None and self._is_upload():
            self._begin_upload()

    def _is_upload(self) -> bool:
        """Whether the body is read by whoever serves the request, which may be before the client is known."""
        return (
            self._headers.get(b"content-type", b"")[:10].lower() == b"multipart/"
            and self._url.partition(b"?")[0].rstrip(b"/") in self.server.upload_paths
            and self._parser.get_method() == b"POST"
        )

    def _begin_upload(self) -> None:
        length = self._headers.get(b"content-length")
        exchange = self._take()
        self._head_done = True  # what comes is its body
        exchange.incoming = self._incoming = Incoming(self._pause_reading, self._resume_reading)
        if length is not None and int(length) > self.server.max_upload_bytes:
            self._incoming.refuse(self._upload_too_large())
        self._begin(exchange)

    def on_body(self, data: bytes) -> None:
        if self.lingering:
            return
        self._body_bytes += len(data)
        if self._incoming is not None:
            if self._body_bytes > self.server.max_upload_bytes:
                self._incoming.refuse(self._upload_too_large())
            else:
                self._incoming.feed(data)
        elif self._body_bytes > self.server.max_body_bytes:
            self._body.clear()
            self._refuse(413, self._too_large())
        else:
            self._body.append(data)

    def on_message_complete(self) -> None:
        if self.lingering:
            return
        if self._incoming is not None:
            self._incoming.end()
            self._incoming = None
            self._reset()
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
        if self._incoming is not None:
            # Answered before the upload was read to its end.
            self._incoming = None
            self._linger()
        elif not done.keep_alive or self.server.draining:
            transport.close()
        elif self._waiting:
            self._begin(self._waiting.popleft())
            if not self._waiting:
                transport.resume_reading()

    def _too_large(self) -> str:
        return f"The request's body is larger than {self.server.max_body_bytes} bytes."

    def _upload_too_large(self) -> LisaError:
        why = f"The upload is larger than {self.server.max_upload_bytes} bytes."
        return PayloadTooLarge(why, code="request_too_large", field="file")

    def _refuse(self, status: int, why: str) -> None:
        """Answers before the request is complete, and reads on for a while so that the answer arrives.

        Closing at once would reset the connection while the client still writes, and lose the answer.
        """
        if self._incoming is not None:
            # Whoever reads it answers.
            self._incoming.refuse(LisaError(why, code="invalid_http", status=status))
            return
        exchange = self._take()
        exchange.keep_alive = False
        if self._task is None:
            self.server.refuser(exchange, status, why)
            self._linger()
        else:
            self.lingering = True
            if self._exchange is not None:
                # An answer before it is still under way: end after that one.
                self._exchange.keep_alive = False
            self.server.loop.call_later(LINGER_SECONDS, self.abort)

    def _linger(self) -> None:
        """Ends the connection, and throws away for a while what the client still sends."""
        self.lingering = True
        if self._transport is not None:
            self._transport.resume_reading()
            self._transport.write_eof()
        self.server.loop.call_later(LINGER_SECONDS, self.abort)

    def _pause_reading(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

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
        if self.lingering or self._transport is None:
            return
        if self._task is not None:
            upload = self._incoming
            if upload is not None and not upload.paused and now - self.active_at > REQUEST_SECONDS:
                self._transport.abort()
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
