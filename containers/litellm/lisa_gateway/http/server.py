"""The HTTP/1.1 server in front: listens, and keeps what all connections share."""

import asyncio
import contextlib
import itertools
import os
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate

from lisa_gateway.http.connection import Connection
from lisa_gateway.http.exchange import Exchange

SWEEP_SECONDS = 1.0

Handler = Callable[[Exchange], Awaitable[None]]
# What the server itself refuses: (exchange, status, what is wrong).
Refuser = Callable[[Exchange, int, str], None]


class Server:
    """Listens, and keeps what all connections share."""

    def __init__(
        self,
        handler: Handler,
        refuser: Refuser,
        *,
        max_body_bytes: int,
        upload_paths: frozenset[bytes] = frozenset(),
        max_upload_bytes: int = 0,
    ) -> None:
        self.handler = handler
        self.refuser = refuser
        self.max_body_bytes = max_body_bytes
        self.upload_paths = upload_paths
        self.max_upload_bytes = max_upload_bytes
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
