"""What was used, summed up and handed over to a queue at least once a second.

The hot path appends one tuple. A thread sums up, and packs the sums into messages whose ids are made once: whatever
is sent again after an answer was lost has the same id, and is recorded once. While the queue takes nothing, sums
grow, not lists; when there are too many sums, what is lost is counted.
"""

import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Protocol

from lisa.identity import Principal
from lisa.usage.message import MAX_GROUPS, MAX_ROWS, MAX_SAMPLES, Counters, Dimension, Entry, Message

log = logging.getLogger(__name__)

FLUSH_SECONDS = 0.7  # and the time of one call to the queue: together less than a second
CLOSE_SECONDS = 3.0
MAX_WAITING = 100_000  # requests between two flushes
MAX_SUMS = 10_000  # sums (a user, token and model in an hour) while the queue takes nothing: some 20 MB
_MESSAGE_BYTES = 20_000
_BATCH_MESSAGES, _BATCH_BYTES = 10, 200_000  # SQS takes 10 messages and 256 KiB a call

# (ended, by time.perf_counter; who, model, status, seconds, seconds to the first event or 0, usage, cost, estimated)
Record = tuple[float, Principal | None, str, int, float, float, tuple[int, int] | None, int, bool]
_Key = tuple[str, str, frozenset[str], str, str]  # user, token, groups, model, hour
_CLIENT_LEFT = 499


class Queue(Protocol):
    """Takes messages over for good."""

    def send(self, messages: Sequence[Message]) -> set[str]:
        """The ids of those that it has taken. Raises when it could not be asked, or when its answer was lost."""


class SqsQueue:
    """`client` is a low-level SQS client that does not try for long: what fails is sent again."""

    def __init__(self, url: str, client: Any) -> None:
        self._url = url
        self._client = client

    def send(self, messages: Sequence[Message]) -> set[str]:
        answer = self._client.send_message_batch(
            QueueUrl=self._url,
            Entries=[{"Id": message.id, "MessageBody": message.encode()} for message in messages],
        )
        return {entry["Id"] for entry in answer.get("Successful", [])}


@dataclass(slots=True)
class _Sum:
    first_at: int
    last_at: int
    counters: Counters = field(default_factory=Counters)
    latencies: list[float] = field(default_factory=list)
    first_tokens: list[float] = field(default_factory=list)
    groups: frozenset[str] = frozenset()

    def add(self, other: "_Sum") -> None:
        self.first_at = min(self.first_at, other.first_at)
        self.last_at = max(self.last_at, other.last_at)
        self.counters.add(other.counters)
        self.latencies += other.latencies[: MAX_SAMPLES - len(self.latencies)]
        self.first_tokens += other.first_tokens[: MAX_SAMPLES - len(self.first_tokens)]


class UsageRecorder:
    """Collects records; a thread of its own sums them up and hands them over."""

    def __init__(self, open_queue: Callable[[], Queue], *, flush_seconds: float = FLUSH_SECONDS) -> None:
        self._open_queue = open_queue
        self._queue: Queue | None = None
        self._flush_seconds = flush_seconds
        self._records: deque[Record] = deque()
        self._sums: dict[_Key, _Sum] = {}
        self._messages: list[Message] = []
        self._one_at_a_time = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="usage", daemon=True)
        self._in_trouble = False
        self._overflow = 0
        self.lost = 0  # requests that could not be kept

    @property
    def waiting(self) -> int:
        """Requests, sums and messages that have not been handed over."""
        return len(self._records) + len(self._sums) + len(self._messages)

    def start(self) -> None:
        self._thread.start()

    def add(self, record: Record) -> None:
        if len(self._records) < MAX_WAITING:
            self._records.append(record)
        else:
            self._overflow += 1

    def close(self) -> None:
        """Hands over what is left, as long as that does not take too long."""
        self._stop.set()
        self._thread.join(CLOSE_SECONDS + 1)

    def _run(self) -> None:
        while not self._stop.wait(self._flush_seconds):
            self.flush()
        deadline = time.monotonic() + CLOSE_SECONDS
        while not self.flush() and time.monotonic() < deadline:
            time.sleep(0.05)  # the queue is in trouble: a pause between two tries
        if self.waiting:
            log.error(
                "usage lost at the end", extra={"sums": len(self._sums), "messages": len(self._messages)}
            )

    def flush(self) -> bool:
        """Whether everything there was has been handed over."""
        with self._one_at_a_time:
            self._sum_up()
            while self._sums or self._messages:
                # What is under way goes first: until then sums may still grow.
                if not self._messages:
                    self._messages = _pack(self._sums)
                    self._sums = {}
                if not self._send():
                    return False
            return True

    def _sum_up(self) -> None:
        overflow, self._overflow = self._overflow, 0
        # What `time.perf_counter` has to be added to, to be the time of day.
        epoch = time.time() - time.perf_counter()
        lost = overflow
        for _ in range(len(self._records)):
            record = self._records.popleft()
            lost += not self._take(record, int(epoch + record[0]))
        if lost:
            self.lost += lost
            log.error("usage lost", extra={"requests": lost, "so_far": self.lost})

    def _take(self, record: Record, at: int) -> bool:
        _, who, model, status, seconds, first, usage, cost, estimated = record
        hour = _hour(at // 3600)
        key: _Key = (
            (who.user, who.token_id, who.groups, model, hour)
            if who is not None
            else ("", "", frozenset(), model, hour)
        )
        found = self._sums.get(key)
        if found is None:
            if len(self._sums) >= MAX_SUMS:
                return False
            found = self._sums[key] = _Sum(at, at)
        found.last_at = max(found.last_at, at)
        counters = found.counters
        counters.requests += 1
        if status < 400:
            counters.succeeded += 1
        elif status == _CLIENT_LEFT:
            counters.left += 1
        elif status < 500:
            counters.refused += 1
        else:
            counters.failed += 1
        if usage is not None:
            counters.prompt_tokens += usage[0]
            counters.completion_tokens += usage[1]
            counters.estimated += estimated
        counters.cost += cost
        milliseconds = seconds * 1000
        counters.latency_ms += round(milliseconds)
        if len(found.latencies) < MAX_SAMPLES:
            found.latencies.append(round(milliseconds, 1))
        if first:
            counters.streams += 1
            counters.first_token_ms += round(first * 1000)
            if len(found.first_tokens) < MAX_SAMPLES:
                found.first_tokens.append(round(first * 1000, 1))
        return True

    def _send(self) -> bool:
        """Whether all messages under way have been taken over."""
        try:
            if self._queue is None:
                self._queue = self._open_queue()
            while self._messages:
                batch = _batch(self._messages)
                taken = self._queue.send(batch)
                self._messages = [message for message in self._messages if message.id not in taken]
                if len(taken) < len(batch):
                    raise RuntimeError(f"the queue took {len(taken)} of {len(batch)} messages")
        except Exception as error:
            if not self._in_trouble:
                log.warning("usage has to wait", extra={"error": f"{type(error).__name__}: {error}"})
            self._in_trouble = True
            return False
        if self._in_trouble:
            log.info("usage is handed over again")
        self._in_trouble = False
        return True


def _batch(messages: list[Message]) -> list[Message]:
    """As many as one call takes, at least one."""
    size = 0
    batch: list[Message] = []
    for message in messages[:_BATCH_MESSAGES]:
        size += len(message.encode().encode())
        if batch and size > _BATCH_BYTES:
            break
        batch.append(message)
    return batch


def _pack(sums: dict[_Key, _Sum]) -> list[Message]:
    """Messages that hold the sums by all that people ask for."""
    totals: dict[tuple[str | None, Dimension, str, str], _Sum] = {}
    for (user, token, groups, model, hour), found in sums.items():
        _total(totals, (None, "user", user, hour), found).groups = groups
        _total(totals, (None, "model", model, hour), found)
        for group in groups:
            _total(totals, (None, "group", group, hour), found)
        if user:
            _total(totals, (user, "model", model, hour), found)
        if token:
            _total(totals, (None, "token", token, hour), found)
            _total(totals, (user, "token", token, hour), found)
    messages: list[Message] = []
    entries: list[Entry] = []
    rows = size = 0
    for (of, by, value, hour), total in totals.items():
        entry = _entry(of, by, value, hour, total)
        length = len(entry.model_dump_json().encode())
        if entries and (rows + entry.rows > MAX_ROWS or size + length > _MESSAGE_BYTES):
            messages.append(Message(id=uuid.uuid4().hex, entries=tuple(entries)))
            entries, rows, size = [], 0, 0
        entries.append(entry)
        rows += entry.rows
        size += length
    messages.append(Message(id=uuid.uuid4().hex, entries=tuple(entries)))
    return messages


def _total(
    totals: dict[tuple[str | None, Dimension, str, str], _Sum],
    key: tuple[str | None, Dimension, str, str],
    found: _Sum,
) -> _Sum:
    total = totals.get(key)
    if total is None:
        total = totals[key] = _Sum(found.first_at, found.last_at)
    total.add(found)
    return total


def _entry(of: str | None, by: Dimension, value: str, hour: str, total: _Sum) -> Entry:
    samples = of is None and by == "model"
    return Entry(
        of=of,
        by=by,
        value=value,
        hour=hour,
        **asdict(total.counters),
        first_at=total.first_at,
        last_at=total.last_at,
        groups=tuple(sorted(total.groups)[:MAX_GROUPS]),
        latencies=tuple(total.latencies) if samples else (),
        first_tokens=tuple(total.first_tokens) if samples else (),
    )


@lru_cache(maxsize=4)
def _hour(number: int) -> str:
    return datetime.fromtimestamp(number * 3600, UTC).strftime("%Y-%m-%dT%H")
