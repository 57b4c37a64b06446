"""One line of JSON for each request, written in batches so that no request waits for it."""

import logging
import sys
import threading
import time
from collections import deque
from datetime import UTC, datetime
from typing import Any, BinaryIO

import orjson

FLUSH_SECONDS = 0.5
MAX_WAITING = 20_000

# (received, by time.perf_counter; request id, route, method, status, user, model, seconds, first byte, usage,
# bytes, error)
Record = tuple[float, bytes, str, str, int, str, str, float, float, tuple[int, int] | None, int, str]


class AccessLog:
    """Collects records; a thread turns them into lines. Neither bodies nor tokens ever get here."""

    def __init__(self, out: BinaryIO | None = None) -> None:
        self._out = out or sys.stdout.buffer
        self._records: deque[Record] = deque()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._dropped = 0

    def start(self) -> None:
        self._thread.start()

    def add(self, record: Record) -> None:
        if len(self._records) < MAX_WAITING:
            self._records.append(record)
        else:  # whoever reads our output has stopped: lose lines rather than memory
            self._dropped += 1

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5)

    def _run(self) -> None:
        while not self._stop.wait(FLUSH_SECONDS):
            self.flush()
        self.flush()

    def flush(self) -> None:
        # One by one, so that none is lost that comes while they are taken out.
        records = [self._records.popleft() for _ in range(len(self._records))]
        dropped, self._dropped = self._dropped, 0
        if not records and not dropped:
            return
        # What `time.perf_counter` has to be added to, to be the time of day.
        epoch = time.time() - time.perf_counter()
        lines = [orjson.dumps(_fields(record, epoch), option=orjson.OPT_APPEND_NEWLINE) for record in records]
        if dropped:
            lines.append(
                orjson.dumps({"level": "WARNING", "message": "lines lost", "count": dropped}) + b"\n"
            )
        try:
            self._out.write(b"".join(lines))
            self._out.flush()
        except (OSError, ValueError):
            return  # nobody reads it any more


def _fields(record: Record, epoch: float) -> dict[str, Any]:
    at, request_id, endpoint, method, status, user, model, seconds, first_byte, usage, size, error = record
    fields: dict[str, Any] = {
        "time": datetime.fromtimestamp(epoch + at, UTC),
        "level": "INFO",
        "message": "request",
        "requestId": request_id.decode(),
        "method": method,
        "route": endpoint,
        "status": status,
        "ms": round(seconds * 1000, 2),
        "firstByteMs": round(first_byte * 1000, 2),
        "bytes": size,
    }
    if user:
        fields["user"] = user
    if model:
        fields["model"] = model
    if usage is not None:
        fields["promptTokens"], fields["completionTokens"] = usage
    if error:
        fields["error"] = error
    return fields


class JsonFormatter(logging.Formatter):
    """The process's other log lines, in the same shape."""

    _KNOWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "message": record.getMessage(),
        }
        for name, value in vars(record).items():
            if name not in self._KNOWN:
                fields[name] = value if isinstance(value, str | int | float | bool) else str(value)
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(fields).decode()


def configure_logging() -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("botocore").setLevel(logging.WARNING)
