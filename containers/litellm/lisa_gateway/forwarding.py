"""Sends a request to an upstream and its answer to the caller, as it comes."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import orjson
from lisa.errors import LisaError

from lisa_gateway import estimates, upstream_errors
from lisa_gateway.answers import JSON, error_event
from lisa_gateway.catalogue import LiveRoute
from lisa_gateway.endpoints import Endpoint
from lisa_gateway.http.client import Address, Pool, UpstreamConnection, UpstreamError, UpstreamTimeout
from lisa_gateway.http.exchange import Exchange
from lisa_gateway.metrics import Metrics
from lisa_gateway.repairs import MessagesRepair, Repair
from lisa_gateway.sse import EventFilter, find_usage

RETRY_PAUSE_SECONDS = 0.05

_EVENTS = (
    b"content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\nx-accel-buffering: no\r\n"
)


@dataclass(slots=True)
class Call:
    """One request on its way to an upstream."""

    exchange: Exchange
    endpoint: Endpoint
    live: LiveRoute
    address: Address
    request: bytes
    drop_usage: bool
    repair: Repair | None = None


class Forwarder:
    def __init__(self, pool: Pool, metrics: Metrics) -> None:
        self._pool = pool
        self._metrics = metrics

    async def forward(self, call: Call) -> None:
        """Answers the exchange; raises LisaError as long as nothing has been sent.

        When this is cancelled (the caller has left) the upstream connection is closed, which is how an
        engine learns that it can stop.
        """
        connection = await self._open(call)
        try:
            if connection.status >= 400:
                raise await self._refused(call, connection)
            kind = connection.headers.get(b"content-type", b"")
            if kind.startswith(b"text/event-stream"):
                await self._events(call, connection)
            elif kind.startswith(b"application/json"):
                await self._document(call, connection)
            else:
                await self._bytes(call, connection, kind)
        except UpstreamError as error:
            raise self._unreachable(call, error) from None
        except asyncio.CancelledError:
            estimates.of_nothing(call.exchange, call.endpoint)
            raise
        finally:
            self._pool.release(connection)

    async def _open(self, call: Call) -> UpstreamConnection:
        """A connection on which the head of the answer has arrived.

        A call that failed before the first byte is made once more: on a refused or lost connection, and on
        502, with which a load balancer says the same. A kept-alive connection that the upstream had closed
        in the meantime does not count as a call.
        """
        pool, retried, kept = self._pool, False, True
        while True:
            connection = pool.take(call.address) if kept else None
            try:
                if connection is None:
                    connection = await pool.connect(call.address)
                await connection.call(call.request)
            except UpstreamError as error:
                if connection is not None:
                    connection.abort()
                if error.reused and not error.answered:
                    kept = False
                    continue
                if retried or error.answered or isinstance(error, UpstreamTimeout):
                    raise self._unreachable(call, error) from None
            except BaseException:
                if connection is not None:
                    connection.abort()
                    estimates.of_nothing(call.exchange, call.endpoint)
                raise
            else:
                if connection.status != 502 or retried:
                    return connection
                connection.abort()
            retried = True
            self._metrics.retries += 1
            await asyncio.sleep(RETRY_PAUSE_SECONDS)

    async def _document(self, call: Call, connection: UpstreamConnection) -> None:
        body = await connection.read()
        exchange = call.exchange
        exchange.usage = find_usage(body)
        if call.repair is not None:
            body = call.repair.document(body)
        exchange.reply(connection.status, JSON, body)

    async def _events(self, call: Call, connection: UpstreamConnection) -> None:
        exchange = call.exchange
        sink, repair = exchange.write, call.repair
        if repair is not None:
            sink = lambda data: exchange.write(repair.events(data))  # noqa: E731 -- the one case that is not bytes as they come
        events = EventFilter(sink, drop_usage=call.drop_usage, mark=estimates.delta_mark(call.endpoint))
        whole = False
        exchange.start(connection.status, _EVENTS)
        try:
            if isinstance(repair, MessagesRepair) and repair.lacks_start(await connection.beginning(b"\n\n")):
                events.feed(repair.start(await self._prompt_tokens(call, repair.count_request)))
            await _pump(exchange, connection, events.feed)
        except UpstreamError as error:
            broken = self._unreachable(call, error)
            exchange.error = broken.code
            exchange.write(error_event(broken, call.endpoint.dialect, exchange.request_id.decode()))
        else:
            events.finish()
            whole = True
        finally:
            estimates.of_stream(exchange, call.endpoint, events, whole=whole)
        exchange.finish()

    async def _prompt_tokens(self, call: Call, body: bytes) -> int:
        """How long the engine finds a prompt whose length it did not tell; raises UpstreamError."""
        head = call.live.heads["messages/count_tokens"]
        request = b"%bcontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
            head,
            len(body),
            body,
        )
        connection = await self._pool.connect(call.address)
        try:
            await connection.call(request)
            answer = await connection.read()
        finally:
            self._pool.release(connection)
        try:
            return int(orjson.loads(answer)["input_tokens"])
        except (ValueError, KeyError, TypeError):
            raise UpstreamError(
                f"no count of the prompt: status {connection.status}", answered=True
            ) from None

    async def _bytes(self, call: Call, connection: UpstreamConnection, kind: bytes) -> None:
        """Anything else, such as speech: as it is, piece by piece."""
        exchange = call.exchange
        exchange.start(connection.status, b"content-type: %b\r\n" % (kind or b"application/octet-stream"))
        try:
            await _pump(exchange, connection, exchange.write)
        except UpstreamError as error:
            exchange.error = self._unreachable(call, error).code
            exchange.break_off()
        else:
            exchange.finish()

    async def _refused(self, call: Call, connection: UpstreamConnection) -> LisaError:
        body = await connection.read()
        fields = call.endpoint.fields
        return upstream_errors.translate(
            connection.status,
            body,
            connection.headers,
            model=call.live.route.model_id,
            hosted=not call.address.path,
            context_window=call.live.route.context_window,
            input_field=next((name for name in ("messages", "prompt", "input") if name in fields), "model"),
        )

    def _unreachable(self, call: Call, error: UpstreamError) -> LisaError:
        call.exchange.error = str(error)
        model = call.live.route.model_id
        if isinstance(error, UpstreamTimeout):
            return upstream_errors.unavailable(f"`{model}` did not answer in time; try again.")
        return upstream_errors.unavailable(f"`{model}` is not available at the moment; try again.")


async def _pump(exchange: Exchange, connection: UpstreamConnection, sink: Callable[[bytes], None]) -> None:
    exchange.on_flow(connection.pause, connection.resume)
    try:
        await connection.stream(sink)
    finally:
        exchange.on_flow(None, None)
