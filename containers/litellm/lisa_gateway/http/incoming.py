"""A request's body that is handed over while it arrives, for uploads that are larger than what may be held."""

import asyncio
from collections import deque
from collections.abc import Callable

from lisa.errors import LisaError

HIGH_BYTES = 512 * 1024
LOW_BYTES = 128 * 1024


class Incoming:
    """Filled by a connection, read by one task. Above HIGH_BYTES the client waits: `pause` and `resume` tell it."""

    __slots__ = ("_error", "_held", "_pause", "_pieces", "_resume", "_waiter", "complete", "paused")

    def __init__(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        self._pause = pause
        self._resume = resume
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._waiter: asyncio.Future[None] | None = None
        self._error: LisaError | None = None
        self.paused = False
        # Whether the connection has read all of it, so that another request may follow.
        self.complete = False

    def feed(self, data: bytes) -> None:
        self._pieces.append(data)
        self._held += len(data)
        if self._held > HIGH_BYTES and not self.paused:
            self.paused = True
            self._pause()
        self._wake()

    def end(self) -> None:
        self.complete = True
        self._wake()

    def refuse(self, error: LisaError) -> None:
        """There is something wrong with the body itself; whoever reads it is told so."""
        self._error = error
        self._pieces.clear()
        self._wake()

    async def read(self) -> bytes:
        """The next piece; empty at the end. Raises what the body was refused with."""
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if self.complete:
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        piece = self._pieces.popleft()
        self._held -= len(piece)
        if self.paused and self._held < LOW_BYTES:
            self.paused = False
            self._resume()
        return piece

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
