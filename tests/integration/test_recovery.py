"""kill -9 of every part, one after the other: each comes back, and a chat is answered again."""

from __future__ import annotations

import os
import signal

import psutil
import pytest
from lisa_local import processes

from tests.cloud import TestCloud, eventually

RECOVERY_SECONDS = 90


def _chat_answers(cloud: TestCloud) -> None:
    last: list[object] = []

    def answered() -> bool:
        last[:] = [cloud.chat()]
        return last[0].status == 200  # type: ignore[attr-defined]

    try:
        eventually("a chat being answered", answered, within=RECOVERY_SECONDS)
    except AssertionError as error:
        raise AssertionError(f"{error}; last: {last}") from None


@pytest.mark.parametrize("component", ["postgres", "door", "engine", "emulator"])
def test_a_killed_component_comes_back(cloud: TestCloud, component: str) -> None:
    # Given
    _chat_answers(cloud)
    before = eventually(f"{component} ready", lambda: cloud.component_pid(component), within=30)

    # When
    os.kill(before, signal.SIGKILL)

    # Then
    eventually(
        f"{component} again",
        lambda: cloud.component_pid(component) not in (None, before),
        within=RECOVERY_SECONDS,
    )
    _chat_answers(cloud)


@pytest.mark.parametrize("program", ["lisa_gateway", "smollm2"])
def test_a_killed_container_is_replaced(cloud: TestCloud, program: str) -> None:
    # Given
    _chat_answers(cloud)
    before = _container(cloud, program)

    # When
    for process in before:
        process.kill()

    # Then
    eventually(
        f"{program} again",
        lambda: {process.pid for process in _container(cloud, program)} - {process.pid for process in before},
        within=RECOVERY_SECONDS,
    )
    _chat_answers(cloud)


def test_nothing_outlives_a_killed_supervisor_and_up_recovers(cloud: TestCloud) -> None:
    # Given
    _chat_answers(cloud)
    everything = cloud.processes()

    # When
    os.kill(cloud.supervisor().pid, signal.SIGKILL)

    # Then
    _, alive = psutil.wait_procs(everything, timeout=60)
    assert [process.cmdline() for process in alive] == []
    cloud.up()
    _chat_answers(cloud)


def test_down_leaves_no_process(cloud: TestCloud) -> None:
    # Given
    everything = cloud.processes()
    assert len(everything) > 8

    # When
    said = cloud.down().stdout

    # Then each ended by itself
    try:
        assert "had to be killed" not in said
        assert [process for process in everything if _runs(process)] == []
        assert processes.belonging_to(cloud.home.path) == []
    finally:
        cloud.up()  # for the tests that follow
    _chat_answers(cloud)


def _runs(process: psutil.Process) -> bool:
    """Whether it still runs; one that has ended and waits for init to notice does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _container(cloud: TestCloud, program: str) -> list[psutil.Process]:
    """Container processes that name the program in their command or environment."""
    engine = cloud.component_pid("engine")
    found = []
    for process in processes.tree(engine)[1:] if engine else []:
        try:
            text = " ".join(process.cmdline()) + process.environ().get("LISA_MODEL_ID", "")
        except psutil.Error:
            continue
        if program in text:
            found.append(process)
    return found
