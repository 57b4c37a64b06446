"""What people see: steps with their times, and errors of one sentence."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


class Problem(Exception):
    """Something a person can mend: the message says what is wrong and what to do."""


class Steps:
    """Prints one line for each step, with its duration, and a total at the end."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._started = time.monotonic()
        self._live = self._out.isatty()
        encoding = (getattr(self._out, "encoding", None) or "").lower().replace("-", "")
        self._done, self._failed = ("✓", "✗") if encoding == "utf8" else ("ok", "!!")

    @contextmanager
    def step(self, label: str) -> Iterator[Step]:
        """Time one step; its line appears when it ends, and beforehand on a terminal."""
        step = Step(label)
        started = time.monotonic()
        if self._live:
            self._print(f"  … {label}", end="\r")
        try:
            yield step
        except BaseException:
            self._line(self._failed, step, started)
            raise
        self._line(self._done, step, started)

    def total(self) -> float:
        """Seconds since the first step."""
        return time.monotonic() - self._started

    def _line(self, mark: str, step: Step, started: float) -> None:
        text = f"{step.label}: {step.detail}" if step.detail else step.label
        self._print(f"  {mark} {text:<58}{time.monotonic() - started:7.1f} s")

    def _print(self, text: str, end: str = "\n") -> None:
        print(text, end=end, file=self._out, flush=True)


class Step:
    """One running step; `note` adds a remark to its line."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.detail = ""

    def note(self, detail: str) -> None:
        self.detail = detail


def megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
