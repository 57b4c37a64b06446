"""Recognises the key of our own functions (lisa.identity.service_key)."""

import asyncio
import logging
import time
from collections.abc import Callable

from lisa.errors import Forbidden, Unauthenticated, Unavailable
from lisa.identity import Principal
from lisa.identity.service_key import SERVICE, is_same_key

log = logging.getLogger(__name__)

# A key that does not fit may be a newer one than ours; made-up ones cost one reading in so many seconds.
REREAD_SECONDS = 5.0


class ServiceKey:
    """`read` brings the secret's value from Secrets Manager; without it no service key is accepted.

    Belongs to the event loop.
    """

    def __init__(
        self,
        read: Callable[[], str] | None,
        opens: frozenset[str],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._opens = opens
        self._clock = clock
        self._secret = ""
        self._next_reading = 0.0
        self._reading: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to read the secret, so that the first call need not wait for it."""
        if self._read is not None:
            self._begin(self._read)

    async def principal(self, token: str, path: str) -> Principal:
        """Who the key speaks for on a rule's path.

        Raises Unauthenticated for a wrong key, Forbidden for a path that it does not open, Unavailable while the
        secret could never be read. May wait for Secrets Manager.
        """
        if not is_same_key(token, self._secret):
            await self._refresh()
            if not is_same_key(token, self._secret):
                if not self._secret and self._read is not None:
                    raise Unavailable("Service keys cannot be checked just now; try again.", retry_after=5)
                raise Unauthenticated("The service key is not known.")
        if path not in self._opens:
            raise Forbidden("A service key opens POST /v1/embeddings and /v1/rerank only.")
        return SERVICE

    async def _refresh(self) -> None:
        if self._read is not None and self._reading is None and self._clock() >= self._next_reading:
            self._begin(self._read)
        if self._reading is not None:
            # Others wait for the same reading: that one of them leaves must not end it.
            await asyncio.shield(self._reading)

    def _begin(self, read: Callable[[], str]) -> None:
        self._next_reading = self._clock() + REREAD_SECONDS
        self._reading = asyncio.get_running_loop().create_task(self._load(read))

    async def _load(self, read: Callable[[], str]) -> None:
        try:
            self._secret = await asyncio.to_thread(read)
        except Exception as error:  # boto3's many: whichever it is, the next reading may succeed
            log.warning("the service key cannot be read", extra={"error": type(error).__name__})
        finally:
            self._reading = None
