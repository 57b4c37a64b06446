"""Fetching objects in parallel ranges, so that an interrupted fetch goes on where it stopped.

An object grows in `<name>.part`; every range that is completely in it is noted in `<name>.done`. Both names
hold the version (ETag) of the object, so a changed object never continues an old one. Only a checked file
gets its final name.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed, wait
from dataclasses import dataclass
from pathlib import Path

from lisa_model.errors import StoreUnavailableError, WeightsError
from lisa_model.weights.objects import InterruptedReadError, ObjectChangedError, RemoteObject, S3Objects

RANGE_SIZE = 16 << 20
PARALLEL = 8
_READ_TRIES = 6
_CHECK_TRIES = 3
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Download:
    """An object and the file it becomes."""

    item: RemoteObject
    file: Path


class Downloader:
    """Fetches a set of objects. The caller holds the cache's lock."""

    def __init__(self, objects: S3Objects, say: Say) -> None:
        self._objects = objects
        self._say = say
        self._cancelled = threading.Event()

    def fetch(self, downloads: Sequence[Download]) -> None:
        """Raises ObjectChangedError when an object was replaced or deleted meanwhile: list again."""
        progress = _Progress(sum(d.item.size for d in downloads), self._say)
        # Objects are checked in the pool as well: hashing lets other threads run, and many shards
        # are the rule.
        with ThreadPoolExecutor(PARALLEL) as ranges, ThreadPoolExecutor(PARALLEL) as files:
            futures = [files.submit(self._fetch_one, download, ranges, progress) for download in downloads]
            try:
                for future in as_completed(futures):
                    if not isinstance(future.exception(), _CancelledError):  # another one has the reason
                        future.result()
            except BaseException:
                self._cancelled.set()
                files.shutdown(wait=False, cancel_futures=True)
                raise
        progress.finish()

    def _fetch_one(self, download: Download, ranges: ThreadPoolExecutor, progress: _Progress) -> None:
        item = download.item
        part = download.file.with_suffix(".part")
        journal = download.file.with_suffix(".done")
        fingerprint = self._objects.fingerprint(item)
        for _ in range(_CHECK_TRIES):
            done = self._completed(part, journal, item.size)
            progress.add(sum(self._length(item, start) for start in done), fetched=False)
            with part.open("r+b" if part.exists() else "w+b") as file, journal.open("a") as notes:
                file.truncate(item.size)
                starts = [start for start in range(0, item.size, RANGE_SIZE) if start not in done]
                tasks = {
                    ranges.submit(self._fetch_range, item, start, file.fileno(), progress): start
                    for start in starts
                }
                try:
                    for task in as_completed(tasks):
                        task.result()
                        notes.write(f"{RANGE_SIZE} {tasks[task]}\n")
                        notes.flush()
                except BaseException:
                    self._cancelled.set()
                    raise
                finally:
                    wait(tasks)  # nothing may write to the file's number once it is closed
                os.fsync(file.fileno())
            if fingerprint.matches(part):
                part.replace(download.file)
                journal.unlink(missing_ok=True)
                return
            # The ranges in the journal may be the damaged ones (a crash of the machine):
            # nothing of it is kept.
            part.unlink()
            journal.unlink(missing_ok=True)
            progress.add(-item.size, fetched=False)
            self._say(f"{item.path} does not match its {fingerprint.algorithm} checksum: fetching it again")
        raise WeightsError(
            f"The object {item.key!r} does not match its own checksum ({fingerprint.algorithm}) after "
            f"{_CHECK_TRIES} tries: upload it again."
        )

    def _completed(self, part: Path, journal: Path, size: int) -> set[int]:
        if not part.exists() or part.stat().st_size != size or not journal.exists():
            journal.unlink(missing_ok=True)
            return set()
        noted = (line.split() for line in journal.read_text().splitlines())
        return {
            int(entry[1])
            for entry in noted
            if len(entry) == 2 and entry[0] == str(RANGE_SIZE) and entry[1].isdigit()
        }

    def _length(self, item: RemoteObject, start: int) -> int:
        return min(RANGE_SIZE, item.size - start)

    def _fetch_range(self, item: RemoteObject, start: int, file: int, progress: _Progress) -> None:
        position, end = start, start + self._length(item, start)
        tries = 0
        while position < end:
            before = position
            try:
                for block in self._objects.read(item, position, end):
                    os.pwrite(file, block, position)
                    position += len(block)
                    progress.add(len(block))
                    if self._cancelled.is_set():
                        raise _CancelledError
            except (InterruptedReadError, StoreUnavailableError) as error:
                tries = tries + 1 if position == before else 1
                if tries >= _READ_TRIES or self._cancelled.is_set():
                    raise StoreUnavailableError(f"Cannot read {item.key}: {error}.") from error
                self._cancelled.wait(min(0.2 * 2**tries, 5.0))


class _CancelledError(Exception):
    """Another object failed: this range is not complete, and not to be noted as such."""


class _Progress:
    """A line at the start, at most every few seconds, and at the end."""

    _EVERY_S = 5.0

    def __init__(self, total: int, say: Say) -> None:
        self._total = total
        self._say = say
        self._lock = threading.Lock()
        self._started = self._said = time.monotonic()
        self._have = self._fetched = 0

    def add(self, size: int, *, fetched: bool = True) -> None:
        with self._lock:
            self._have += size
            self._fetched += size if fetched else 0
            now = time.monotonic()
            if now - self._said < self._EVERY_S:
                return
            self._said = now
            self._say(f"fetched {mb(self._have)} of {mb(self._total)} ({self._rate(now)})")

    def finish(self) -> None:
        now = time.monotonic()
        self._say(f"fetched {mb(self._fetched)} in {now - self._started:.1f} s ({self._rate(now)})")

    def _rate(self, now: float) -> str:
        return f"{mb(self._fetched / max(now - self._started, 0.001))}/s"


def mb(size: float) -> str:
    """Bytes as people read them."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


__all__ = ["Download", "Downloader", "ObjectChangedError", "mb"]
