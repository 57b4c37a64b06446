"""The supervisor starts in order, restarts what dies, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from lisa_local import processes
from lisa_local.config import Config, OpenSearch
from lisa_local.console import Problem
from lisa_local.home import Home
from lisa_local.supervisor import logfiles
from lisa_local.supervisor.__main__ import components
from lisa_local.supervisor.control import ORDER

from .conftest import Harness, alive


def _wait_until(condition: object, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "not reached in time"
        time.sleep(0.02)


def test_components_start_when_what_they_need_is_ready(supervisor: Harness) -> None:
    # When
    supervisor.start()
    cloud = supervisor.wait_ready()

    # Then
    started = [line for line in supervisor.journal() if line.endswith("started")]
    assert started.index("first started") < started.index("second started")
    assert {report["state"] for report in cloud.components.values()} == {"ready"}


def test_a_killed_component_is_restarted(supervisor: Harness) -> None:
    # Given
    supervisor.start()
    before = supervisor.wait_ready().components["first"]["pid"]

    # When
    os.kill(before, signal.SIGKILL)

    # Then
    cloud = supervisor.wait(lambda c: c.ready and c.components["first"]["pid"] not in (None, before))
    assert cloud.components["first"]["restarts"] == 1
    assert cloud.components["second"]["restarts"] == 0


def test_what_a_killed_component_started_ends_with_it(supervisor: Harness) -> None:
    # Given a component with a child in a session of its own
    child_file = supervisor.home.path / "first.child"
    child_file.touch()
    supervisor.start()
    cloud = supervisor.wait_ready()
    child = int(child_file.read_text())
    assert alive(child)

    # When
    os.kill(cloud.components["first"]["pid"], signal.SIGKILL)

    # Then
    _wait_until(lambda: not alive(child))


def test_stop_ends_components_in_reverse_order_and_leaves_no_process(supervisor: Harness) -> None:
    # Given
    supervisor.start()
    cloud = supervisor.wait_ready()
    pids = [report["pid"] for report in cloud.components.values()]

    # When
    killed = supervisor.control.stop()

    # Then
    assert killed == []
    stopped = [line for line in supervisor.journal() if line.endswith("stopped")]
    assert stopped == ["second stopped", "first stopped", "postgres stopped"]
    assert not any(alive(pid) for pid in pids)
    assert not supervisor.control.running()
    assert supervisor.control.status() is None


def test_nothing_outlives_a_supervisor_that_was_killed(supervisor: Harness) -> None:
    # Given
    supervisor.start()
    cloud = supervisor.wait_ready()

    # When
    os.kill(cloud.pid, signal.SIGKILL)
    assert supervisor.process is not None
    supervisor.process.wait(10)

    # Then each is told to stop, as it would be in good order
    _wait_until(lambda: not processes.belonging_to(supervisor.home.path))
    assert sorted(line for line in supervisor.journal() if line.endswith("stopped")) == [
        "first stopped",
        "postgres stopped",
        "second stopped",
    ]


def test_a_component_that_cannot_start_is_named_with_its_last_words(supervisor: Harness) -> None:
    # Given
    (supervisor.home.path / "first.broken").touch()
    supervisor.start()
    supervisor.wait(lambda cloud: cloud.components["first"]["failures"] > 1)

    # When
    with pytest.raises(Problem) as raised:
        supervisor.control.wait_for("first")

    # Then
    assert "first does not start" in str(raised.value)
    assert "this component is broken" in str(raised.value)


def test_a_component_that_was_mended_starts_without_a_new_supervisor(supervisor: Harness) -> None:
    # Given
    broken = supervisor.home.path / "first.broken"
    broken.touch()
    supervisor.start()
    supervisor.wait(lambda cloud: cloud.components["first"]["failures"] > 1)

    # When
    broken.unlink()

    # Then
    supervisor.wait_ready()


def test_sigterm_stops_the_supervisor_as_the_socket_does(supervisor: Harness) -> None:
    # Given
    supervisor.start()
    cloud = supervisor.wait_ready()

    # When
    os.kill(cloud.pid, signal.SIGTERM)

    # Then
    assert supervisor.process is not None
    assert supervisor.process.wait(15) == 0
    assert "first stopped" in supervisor.journal()


def test_logs_are_rotated_while_their_writer_keeps_them_open(tmp_path: Path) -> None:
    # Given
    path = tmp_path / "component.log"
    with path.open("ab", buffering=0) as writer:
        writer.write(b"x" * 2000 + b"\n")

        # When
        logfiles.rotate(path, limit=1000)
        writer.write(b"after\n")

    # Then
    assert path.read_bytes() == b"after\n"
    assert path.with_name("component.log.1").stat().st_size == 2001


def test_rotation_keeps_a_fixed_number_of_generations(tmp_path: Path) -> None:
    path = tmp_path / "component.log"
    for number in range(5):
        path.write_text(f"{number}" * 20)
        logfiles.rotate(path, limit=10)

    assert sorted(entry.name for entry in tmp_path.iterdir()) == [
        "component.log",
        "component.log.1",
        "component.log.2",
    ]
    assert path.with_name("component.log.1").read_text() == "4" * 20


def test_ready_counts_only_as_a_whole_line_of_this_start(tmp_path: Path) -> None:
    path = tmp_path / "component.log"
    path.write_text("ready\n")
    offset = path.stat().st_size
    assert not logfiles.has_line(path, "ready", offset)
    path.write_text("ready\nnot ready yet\nrea")
    assert not logfiles.has_line(path, "ready", offset)
    path.write_text("ready\nnot ready yet\nready\n")
    assert logfiles.has_line(path, "ready", offset)


def test_opensearch_is_a_component_where_it_was_chosen(home: Home) -> None:
    def names(chosen: OpenSearch) -> list[str]:
        return [each.name for each in components(home, Config("0a1b2c3d", 10, opensearch=chosen))]

    without = ["postgres", "engine", "emulator", "door"]
    assert names(OpenSearch()) == names(OpenSearch(url="http://127.0.0.1:9200")) == without
    assert names(OpenSearch(node=True)) == list(ORDER)
