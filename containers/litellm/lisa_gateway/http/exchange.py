"""One request and the answer to it, as the gateway sees them."""

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from lisa.identity import Principal

if TYPE_CHECKING:
    from lisa_gateway.http.connection import Connection
    from lisa_gateway.http.incoming import Incoming
    from lisa_gateway.meters import Meter

_STATUS_LINES = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n".encode() for s in HTTPStatus}
_ID_CHARACTERS = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


class Exchange:
    """One request, and the means to answer it: `reply` at once, or `start`, `write`..., `finish`."""

    __slots__ = (
        "_chunked",
        "_connection",
        "admitted",
        "body",
        "bytes_sent",
        "cost",
        "endpoint",
        "error",
        "estimated",
        "extra_headers",
        "first_byte_at",
        "first_event_at",
        "headers",
        "http10",
        "incoming",
        "keep_alive",
        "method",
        "model",
        "path",
        "principal",
        "query",
        "received_at",
        "request_id",
        "started",
        "status",
        "usage",
    )

    def __init__(
        self,
        connection: "Connection",
        method: bytes,
        path: str,
        query: str,
        headers: dict[bytes, bytes],
        body: bytes,
        keep_alive: bool,
        http10: bool,
    ) -> None:
        self._connection = connection
        self.method = method.decode("ascii", "replace")
        self.path = path
        self.query = query
        self.headers = headers
        self.body = body
        # The body of an upload, which is read while it arrives; `body` is empty then.
        self.incoming: Incoming | None = None
        self.keep_alive = keep_alive
        self.http10 = http10
        self.received_at = time.perf_counter()
        given = headers.get(b"x-request-id")
        if given and len(given) <= 128 and _ID_CHARACTERS.issuperset(given):
            self.request_id = given
        else:
            self.request_id = connection.server.next_id()
        # Complete lines that every answer to this request carries, whatever its status.
        self.extra_headers = b""
        self.started = False
        self._chunked = False
        # What the access log and the metrics say about it.
        self.status = 0
        self.bytes_sent = 0
        self.first_byte_at = 0.0
        self.endpoint = ""
        self.principal: Principal | None = None
        self.model = ""
        self.error = ""
        self.usage: tuple[int, int] | None = None
        # Whether the usage had to be estimated, because an answer did not come to the end where models tell it.
        self.estimated = False
        self.cost = 0  # in millionths of a US dollar
        # The limits' counters that it was admitted by.
        self.admitted: tuple[Meter, ...] = ()
        # When the first piece of an answer in pieces went out: its head is there before a model has begun.
        self.first_event_at = 0.0

    def _head(self, status: int, headers: bytes) -> bytes:
        server = self._connection.server
        if server.draining or (self.incoming is not None and not self.incoming.complete):
            self.keep_alive = False
        self.started = True
        self.status = status
        self.first_byte_at = time.perf_counter()
        return b"%b%b%bdate: %b\r\nx-request-id: %b\r\n%b" % (
            _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status,
            headers,
            self.extra_headers,
            server.date,
            self.request_id,
            b"" if self.keep_alive else b"connection: close\r\n",
        )

    def reply(self, status: int, headers: bytes, body: bytes) -> None:
        """The whole answer. `headers` are complete lines, each with its line end."""
        head = self._head(status, headers)
        self.bytes_sent = len(body)
        if self.method == "HEAD":
            body = b""
        self._connection.write(b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body))

    def start(self, status: int, headers: bytes) -> None:
        """The head of an answer whose length is not known."""
        head = self._head(status, headers)
        if self.http10:
            self.keep_alive = False
            self._connection.write(head + b"\r\n")
        else:
            self._chunked = True
            self._connection.write(head + b"transfer-encoding: chunked\r\n\r\n")

    def start_sized(self, status: int, headers: bytes, length: int) -> None:
        """The head of an answer that comes in pieces and whose length is known."""
        head = self._head(status, headers)
        self._connection.write(b"%bcontent-length: %d\r\n\r\n" % (head, length))

    def write(self, data: bytes) -> None:
        if not data:
            return
        if not self.bytes_sent:
            self.first_event_at = time.perf_counter()
        self.bytes_sent += len(data)
        self._connection.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def finish(self) -> None:
        if self._chunked:
            self._connection.write(b"0\r\n\r\n")

    def break_off(self) -> None:
        """Ends an answer that cannot be completed, so that the client sees that it is not whole."""
        self.keep_alive = False
        self._connection.abort()

    def on_flow(self, pause: Callable[[], None] | None, resume: Callable[[], None] | None) -> None:
        """What to call when the client reads too slowly, and when it has caught up."""
        self._connection.flow(pause, resume)


def header_line(name: str, value: Any) -> bytes:
    """One response header; raises ValueError for a value that would break out of it."""
    line = f"{name}: {value}"
    if "\r" in line or "\n" in line:
        raise ValueError("a header cannot hold a line end")
    return line.encode("latin-1", "replace") + b"\r\n"
