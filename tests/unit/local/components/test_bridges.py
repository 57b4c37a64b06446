"""Bridges notice a version they were not written for, and the housekeeping that needs no running emulator."""

from __future__ import annotations

import time
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import pytest
from lisa_local.component import ComponentError, Settings
from lisa_local.emulator import bridges, executions
from lisa_local.emulator.bridges import batch_actions, function_workers, seams, state_files
from lisa_local.emulator.bridges.quick_copies import deep_copy
from ministack.core import iam_actions, lambda_runtime
from ministack.services import ecs, stepfunctions


def test_another_version_of_the_emulator_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = Settings(tmp_path, "test", "us-east-1", "000000000000", 1, 2, 3, 10, {})
    monkeypatch.setattr(bridges, "version", lambda _: "1.5.34")
    with pytest.raises(ComponentError, match=r"written for ministack 1\.5\.33, but 1\.5\.34"):
        bridges.install(seams.Context(settings, tmp_path, b"seed"))


def test_a_private_name_that_is_gone_is_named() -> None:
    with pytest.raises(ComponentError, match=r"ministack\.services\.ecs has no _gone"):
        seams.original(ecs, "_gone")
    with pytest.raises(ComponentError, match="GoneAction"):
        seams.replace(ecs._ACTION_MAP, "GoneAction", None)
    assert not hasattr(ecs, "_gone")


@pytest.mark.parametrize(
    ("asked", "needed"),
    [("SendMessageBatch", "sqs:SendMessage"), ("ReceiveMessage", "sqs:ReceiveMessage")],
)
def test_a_batch_of_messages_needs_the_permission_of_a_message(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, asked: str, needed: str
) -> None:
    # Given
    monkeypatch.setattr(iam_actions, "extract_iam_action", iam_actions.extract_iam_action)
    settings = Settings(tmp_path, "test", "us-east-1", "000000000000", 1, 2, 3, 10, {})
    batch_actions.install(seams.Context(settings, tmp_path, b"seed"))
    headers = {"x-amz-target": f"AmazonSQS.{asked}"}
    # Then
    assert iam_actions.extract_iam_action("sqs", "POST", "/", headers, b"{}", {}) == needed


def test_idle_workers_end_the_last_of_a_function_later(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given
    now = time.time()

    def worker(idle: float, busy: bool = False) -> lambda_runtime.Worker:
        made = lambda_runtime.Worker("f", {}, b"")
        made.last_used, made.in_use = now - idle, busy
        return made

    recent, surplus, old = worker(40), worker(50), worker(1000)
    busy, fresh = worker(1000, busy=True), worker(10)
    pools = {"a": [surplus, recent], "b": [old], "c": [busy], "d": [fresh]}
    monkeypatch.setattr(lambda_runtime, "_workers", pools)
    # When
    ended = function_workers.end_idle_workers()
    # Then
    assert ended == 2
    assert pools == {"a": [recent], "c": [busy], "d": [fresh]}


def test_finished_executions_are_forgotten_running_ones_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()

    def stopped(seconds: float) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now - seconds))

    store = type(stepfunctions._executions)()
    store._data = {
        ("a", "r", "old"): {"status": "SUCCEEDED", "stopDate": stopped(3600)},
        ("a", "r", "recent"): {"status": "FAILED", "stopDate": stopped(60)},
        ("a", "r", "running"): {"status": "RUNNING"},
    }
    monkeypatch.setattr(stepfunctions, "_executions", store)
    assert executions.prune(now) == 1
    assert {key[-1] for key in store._data} == {"recent", "running"}
    # and never more than a bounded number of them
    store._data |= {
        ("a", "r", str(i)): {"status": "SUCCEEDED", "stopDate": stopped(i / 10)} for i in range(900)
    }
    executions.prune(now)
    assert len(store._data) == executions.KEEP_COUNT + 1


def test_large_values_are_stored_once_and_removed_when_nothing_names_them(tmp_path: Path) -> None:
    # Given
    (tmp_path / "state").mkdir()
    blobs = state_files.Blobs(tmp_path / "blobs")
    kept, dropped = b"a" * 100_000, b"b" * 100_000
    name = blobs.store(kept)
    gone = blobs.store(dropped)
    assert blobs.store(bytes(bytearray(kept))) == name
    # When
    (tmp_path / "state" / "lambda.json.previous").write_text(f'{{"{state_files.BLOB}": "{name}"}}')
    blobs.prune(tmp_path / "state")
    # Then
    assert blobs.load(name) == kept
    with pytest.raises(ComponentError, match=gone):
        blobs.load(gone)
    # and a damaged one is noticed
    (tmp_path / "blobs" / name).write_bytes(b"c")
    with pytest.raises(ComponentError, match="damaged"):
        blobs.load(name)


def test_copies_share_nothing_with_what_they_are_of() -> None:
    items = defaultdict(dict, {"pk": {"sk": {"a": {"L": [{"S": "x"}, {"B": b"y"}]}, "n": Decimal("1.5")}}})
    table = {"items": items, "on": True, "size": 3, "none": None}
    copied = deep_copy(table)
    assert copied == table
    assert copied["items"]["new"] == {}  # it still makes what is missing
    copied["items"]["pk"]["sk"]["a"]["L"].append("z")
    assert len(items["pk"]["sk"]["a"]["L"]) == 2
    assert "new" not in items
