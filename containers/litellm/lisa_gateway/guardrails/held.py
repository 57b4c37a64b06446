"""An answer that is kept back until it has been judged."""

from collections.abc import Callable

from lisa.errors import LisaError

from lisa_gateway.http.exchange import Exchange

MAX_BYTES = 32 * 1024 * 1024
_SHARED = (
    "method",
    "path",
    "query",
    "headers",
    "body",
    "received_at",
    "request_id",
    "endpoint",
    "principal",
    "model",
)


class Held(Exchange):
    """Stands for an exchange towards whoever answers it, and keeps the answer."""

    __slots__ = ("answer_headers", "broken", "pieces", "streamed")

    def __init__(self, exchange: Exchange) -> None:  # the parent's would read a request from a connection
        for name in _SHARED:
            setattr(self, name, getattr(exchange, name))
        self.started = False
        self.status = 0
        self.bytes_sent = 0
        self.first_byte_at = self.first_event_at = 0.0
        self.error = ""
        self.usage = None
        self.estimated = False
        self.cost = 0
        self.extra_headers = b""
        self.answer_headers = b""
        self.pieces: list[bytes] = []
        self.streamed = False
        self.broken = False

    @property
    def content(self) -> bytes:
        return b"".join(self.pieces)

    def reply(self, status: int, headers: bytes, body: bytes) -> None:
        self.started, self.status, self.answer_headers = True, status, headers
        self.write(body)

    def start(self, status: int, headers: bytes) -> None:
        self.started, self.status, self.answer_headers, self.streamed = True, status, headers, True

    def write(self, data: bytes) -> None:
        self.bytes_sent += len(data)
        if self.bytes_sent > MAX_BYTES:
            raise LisaError(
                "The answer is too long for the guardrails of this model to read.",
                code="guardrail_unavailable",
                status=503,
            )
        self.pieces.append(data)

    def finish(self) -> None:
        """Nothing is sent yet."""

    def break_off(self) -> None:
        self.broken = True

    def on_flow(self, pause: Callable[[], None] | None, resume: Callable[[], None] | None) -> None:
        """Nobody reads too slowly here."""

    def settle(self, exchange: Exchange) -> None:
        """What is known of the answer, whether or not it goes out: tokens have been used."""
        exchange.usage, exchange.estimated, exchange.error = self.usage, self.estimated, self.error

    def release(self, exchange: Exchange, content: bytes) -> None:
        """Sends the answer, in the way in which it came."""
        if self.streamed:
            exchange.start(self.status, self.answer_headers)
            exchange.write(content)
            exchange.finish()
        else:
            exchange.reply(self.status, self.answer_headers, content)
