"""kill -9 of every part, one after the other: each comes back, and a chat is answered again."""

from __future__ import annotations

import os
import signal

import psutil
import pytest
from lisa.models.naming import short_name
from lisa_local import processes

from tests.cloud import TestCloud, eventually

RECOVERY_SECONDS = 90
EMBEDDING_MODEL = "all-minilm-l6-v2"


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


def test_a_workflow_that_was_lost_is_found_and_tried_again(cloud: TestCloud) -> None:
    # Given a create that stays under way, and is in what the emulator saves every few seconds
    definition = cloud.call("GET", f"/api/models/{EMBEDDING_MODEL}").body["model"]
    definition["loadBalancerConfig"]["healthCheckConfig"]["path"] = "/never"
    assert cloud.call("POST", "/api/models", body={**definition, "modelId": "cut-off"}).status == 201
    eventually("a first attempt", lambda: _attempts(cloud, "cut-off") == ["1"], within=60)
    eventually("it being saved", lambda: _saved(cloud, "cut-off"), within=30)
    before = cloud.component_pid("emulator")

    # When
    os.kill(before, signal.SIGKILL)

    # Then the reconciler starts it anew
    eventually("another emulator", lambda: cloud.component_pid("emulator") not in (None, before), within=60)
    eventually("a second attempt", lambda: "2" in _attempts(cloud, "cut-off"), within=180)
    assert cloud.call("DELETE", "/api/models/cut-off").status == 200
    eventually(
        "its removal",
        lambda: cloud.call("GET", "/api/models/cut-off").status == 404,
        within=RECOVERY_SECONDS,
    )
    _chat_answers(cloud)


def _attempts(cloud: TestCloud, model_id: str) -> list[str]:
    """Attempts of the model's workflow that the emulator knows of: the last part of an execution's name."""
    states = cloud.session.client("stepfunctions")
    (machine,) = [
        m["stateMachineArn"]
        for m in states.list_state_machines()["stateMachines"]
        if "ModelCreate" in m["name"]
    ]
    names = [e["name"] for e in states.list_executions(stateMachineArn=machine)["executions"]]
    return [name.rsplit("-", 1)[1] for name in names if name.startswith(short_name(model_id))]


def _saved(cloud: TestCloud, model_id: str) -> bool:
    return model_id.encode() in (cloud.home.path / "emulator" / "state" / "dynamodb.json").read_bytes()


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
