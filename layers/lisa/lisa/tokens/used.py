"""When tokens were last used, to the hour: noted without a wait, written in batches."""

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

GRANULARITY = 3600.0  # a token's use is written down at most once in so many seconds, by each process
FLUSH_SECONDS = 5.0
MAX_KNOWN = 20_000

Write = Callable[[str, int, int], None]  # UUID, used at, token's expiry


class LastUsed:
    """`write` stores one note. In the gateway a thread flushes; a function, which may be frozen at any time after its
    answer, flushes before it."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._written: dict[str, float] = {}
        self._waiting: dict[str, tuple[int, int]] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def note(self, uuid: str, expires_at: int, now: float) -> None:
        """The token was used; never waits for anything but other notes."""
        with self._lock:
            last = self._written.get(uuid)
            if last is not None and now - last < GRANULARITY:
                return
            while len(self._written) >= MAX_KNOWN:
                del self._written[next(iter(self._written))]
            self._written[uuid] = now
            self._waiting[uuid] = (int(now), expires_at)

    def flush(self) -> None:
        """Writes what is waiting. What cannot be written is tried again with the token's next use."""
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        for uuid, (at, expires_at) in waiting.items():
            try:
                self._write(uuid, at, expires_at)
            except Exception as error:  # whatever AWS says: nobody's request depends on it
                log.warning("last use not written", extra={"tokenId": uuid, "error": type(error).__name__})
                with self._lock:
                    self._written.pop(uuid, None)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="last-used", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5)

    def _run(self) -> None:
        while not self._stop.wait(FLUSH_SECONDS):
            self.flush()
        self.flush()
