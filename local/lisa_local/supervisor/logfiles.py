"""Log files of the components: appended to by the components themselves, rotated by the supervisor.

A component writes straight into its file, so it never waits for the supervisor or fails with it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

ROTATE_BYTES = 10_000_000
GENERATIONS = 2


def rotate(path: Path, limit: int = ROTATE_BYTES) -> None:
    """Keep a log file below its limit: copy it, then empty it, for the writer keeps it open for appending."""
    try:
        if path.stat().st_size < limit:
            return
    except FileNotFoundError:
        return
    for generation in range(GENERATIONS - 1, 0, -1):
        older = path.with_name(f"{path.name}.{generation}")
        if older.exists():
            older.replace(path.with_name(f"{path.name}.{generation + 1}"))
    shutil.copyfile(path, path.with_name(f"{path.name}.1"))
    with path.open("r+") as file:
        file.truncate(0)


def has_line(path: Path, line: str, offset: int) -> bool:
    """Whether a complete line stands in a file behind an offset."""
    with path.open("rb") as file:
        file.seek(offset)
        complete, _, _ = file.read().rpartition(b"\n")
    return line.encode() in (written.strip() for written in complete.split(b"\n"))


def last_lines(path: Path, count: int) -> list[str]:
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 64_000))
            return file.read().decode(errors="replace").splitlines()[-count:]
    except FileNotFoundError:
        return []
