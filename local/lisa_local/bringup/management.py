"""The management API as an administrator's client sees it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from lisa_local.cloud import Answer, LocalCloud
from lisa_local.console import Problem


class ManagementApi:
    def __init__(self, cloud: LocalCloud, token: str) -> None:
        self._cloud = cloud
        self._token = token

    def call(self, method: str, path: str, body: Any = None) -> Answer:
        try:
            return self._cloud.call(method, path, token=self._token, body=body)
        except OSError as error:
            return Answer(503, {"message": f"nothing answers at {self._cloud.config.url} ({error})"})


def expect(answer: Answer, *statuses: int) -> Answer:
    """The answer, if it has one of these statuses; raises Problem with what it says otherwise."""
    if answer.status not in statuses:
        raise Problem(f"The management API answered {answer.status}: {answer.message} (lisa logs emulator).")
    return answer


def wait(
    condition: Callable[[], bool], otherwise: str, seconds: float, detail: Callable[[], str] = lambda: ""
) -> None:
    """Wait until the condition holds; raises Problem, saying what is `otherwise`, when it takes too long."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            remark = detail()
            raise Problem(f"{otherwise} after {seconds:.0f} s{': ' + remark if remark else ''} (lisa logs).")
        time.sleep(0.25)
