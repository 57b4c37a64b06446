"""A container's output in the frames of Docker's log stream."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from typing import BinaryIO

from lisa_local.engine.container import Container

_STDOUT = 1
_CHUNK = 64 * 1024
_POLL_SECONDS = 0.1


def frame(data: bytes) -> bytes:
    return struct.pack(">BxxxL", _STDOUT, len(data)) + data


async def stream(container: Container, *, follow: bool, tail: int | None) -> AsyncIterator[bytes]:
    """Frames of the output so far and, with `follow`, of what comes until the container ends.

    Frames end with a line's end: a reader takes each for a whole message.
    """
    if not container.log.exists():
        container.log.touch(mode=0o600)
    with container.log.open("rb") as log:
        if tail is not None:
            _seek_tail(log, tail)
        rest = b""
        while True:
            ended = not container.running  # before reading: what it wrote last must not be lost
            while data := log.read(_CHUNK):
                lines, newline, rest = (rest + data).rpartition(b"\n")
                if newline:
                    yield frame(lines + newline)
            if ended or not follow:
                break
            await _until_more(container)
        if rest:
            yield frame(rest)


async def _until_more(container: Container) -> None:
    try:
        await asyncio.wait_for(container.exited.wait(), _POLL_SECONDS)
    except TimeoutError:
        return


def _seek_tail(log: BinaryIO, lines: int) -> None:
    """Move to the beginning of the last `lines` lines."""
    log.seek(0, 2)
    position, found = log.tell(), 0
    while position > 0 and found <= lines:
        step = min(_CHUNK, position)
        position -= step
        log.seek(position)
        block = log.read(step)
        found += block.count(b"\n")
        if found > lines:
            # Skip what is too much at the beginning of this block.
            for _ in range(found - lines):
                position += block.index(b"\n") + 1
                block = block[block.index(b"\n") + 1 :]
            break
    log.seek(position)
