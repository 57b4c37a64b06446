"""The command's face: help, exit codes, one sentence for each error and never a traceback."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from lisa_local import cli
from lisa_local.home import Home

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _home(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISA_HOME", str(home.path))


@pytest.mark.parametrize("command", ["token", "status"])
def test_before_the_first_up_commands_say_so(command: str, capsys: Capture) -> None:
    assert cli.main([command]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == f"lisa {command}: There is no local cloud yet: start one with `lisa up`.\n"


@pytest.mark.parametrize("action", [["create", "--name", "x"], ["list"], ["revoke", "some-uuid"]])
def test_what_is_done_with_tokens_needs_a_cloud_too(action: list[str], capsys: Capture) -> None:
    assert cli.main(["token", *action]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == "lisa token: There is no local cloud yet: start one with `lisa up`.\n"


@pytest.mark.parametrize("arguments", [["create", "--name", "x"], ["list"], []])
def test_a_user_may_be_named_before_or_after_what_is_done(arguments: list[str]) -> None:
    parse = cli._parser().parse_args
    assert parse(["token", *arguments]).user == "admin"
    assert parse(["token", "--user", "alice", *arguments]).user == "alice"
    assert parse(["token", *arguments, "--user", "alice"]).user == "alice"


@pytest.mark.parametrize("command", [["down"], ["reset", "--yes"]])
def test_stopping_what_never_started_is_no_error(command: list[str], capsys: Capture) -> None:
    assert cli.main(command) == 0
    assert "no local cloud was ever started" in capsys.readouterr().out


def test_reset_does_not_delete_without_a_yes(
    home: Home, write_config: Callable[..., None], capsys: Capture
) -> None:
    write_config()
    assert cli.main(["reset"]) == 1
    assert "confirm with `lisa reset --yes`" in capsys.readouterr().err
    assert home.config.exists()


def test_reset_deletes_what_the_cloud_wrote(home: Home, write_config: Callable[..., None]) -> None:
    write_config()
    (home.path / "emulator").mkdir()
    (home.path / "emulator" / "state.json").write_text("{}")
    assert cli.main(["reset", "--yes"]) == 0
    assert [entry.name for entry in home.path.iterdir()] == ["command.lock"]


def test_a_folder_that_is_not_ours_is_never_deleted(home: Home, capsys: Capture) -> None:
    home.config.write_text(json.dumps({"some": "other program's"}))
    precious = home.path / "precious"
    precious.touch()
    assert cli.main(["reset", "--yes"]) == 1
    assert precious.exists()
    assert "another version" in capsys.readouterr().err


def test_a_full_disk_is_one_sentence(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def fail() -> Home:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cli.Home, "locate", fail)
    assert cli.main(["down"]) == 1
    assert "The disk is full" in capsys.readouterr().err


def test_an_unforeseen_error_is_a_sentence_too(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def fail() -> Home:
        raise RuntimeError("what nobody thought of")

    monkeypatch.setattr(cli.Home, "locate", fail)
    assert cli.main(["status"]) == 1
    output = capsys.readouterr()
    assert "what nobody thought of" in output.err
    assert "Traceback" not in output.err


def test_logs_of_a_component_and_of_a_container(home: Home, capsys: Capture) -> None:
    (home.logs / "door.log").write_text("one\ntwo\nthree\n")
    home.container_logs.mkdir()
    (home.container_logs / "gateway-0a1b.log").write_text("from the gateway\n")
    assert cli.main(["logs", "door", "-n", "2"]) == 0
    assert capsys.readouterr().out == "two\nthree\n"
    assert cli.main(["logs", "gateway"]) == 0
    assert capsys.readouterr().out == "from the gateway\n"


def test_a_log_that_is_not_there_names_those_that_are(home: Home, capsys: Capture) -> None:
    (home.logs / "door.log").touch()
    assert cli.main(["logs", "window"]) == 1
    assert "There is no log of window (there are: door)" in capsys.readouterr().err


def test_pushing_from_a_folder_that_is_not_there_is_said(tmp_path: Path, capsys: Capture) -> None:
    assert cli.main(["models", "push", str(tmp_path / "nowhere"), "--name", "org/model"]) == 1
    assert "is not a folder" in capsys.readouterr().err
