"""`lisa logs`: what components, tools and containers have written."""

from __future__ import annotations

import time
from pathlib import Path
from typing import BinaryIO

from lisa_local.console import Problem
from lisa_local.home import Home
from lisa_local.supervisor import logfiles


def find_log(home: Home, name: str) -> Path:
    """The log of a component or tool by its name, or the newest of a container by a part of its name.

    Raises:
        Problem: there is none.
    """
    exact = home.logs / f"{name}.log"
    if exact.is_file():
        return exact
    containers = [path for path in _logs_in(home.container_logs) if name in path.name]
    if not containers:
        known = ", ".join(
            sorted({path.stem for path in [*_logs_in(home.logs), *_logs_in(home.container_logs)]})
        )
        raise Problem(f"There is no log of {name} (there are: {known or 'none yet'}).")
    return max(containers, key=lambda path: path.stat().st_mtime)


def show_logs(home: Home, name: str | None, *, lines: int, follow: bool) -> None:
    if name is None:
        for path in [*_logs_in(home.logs), *_logs_in(home.container_logs)]:
            print(f"==> {path.stem}")
            print("\n".join(logfiles.last_lines(path, min(lines, 8))), flush=True)
        return
    path = find_log(home, name)
    with path.open("rb") as file:
        print("\n".join(logfiles.last_lines(path, lines)), flush=True)
        if follow:
            file.seek(0, 2)
            _follow(file, path)


def _follow(file: BinaryIO, path: Path) -> None:
    while True:
        content = file.read()
        if content:
            print(content.decode(errors="replace"), end="", flush=True)
        elif path.stat().st_size < file.tell():
            file.seek(0)  # the log was rotated
        else:
            time.sleep(0.2)


def _logs_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.log"))
