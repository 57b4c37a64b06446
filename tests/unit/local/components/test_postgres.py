"""PostgreSQL: comes up, keeps its data through a crash, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import psycopg2
import pytest
from lisa_local.postgres import account
from lisa_local.postgres.server import _processes_in

from .conftest import Cloud, wait_for


def connect(cloud: Cloud, **changes: object):
    settings = json.loads((cloud.home / "postgres.json").read_text())
    settings["dbname"] = settings.pop("database")
    connection = psycopg2.connect(**(settings | changes), connect_timeout=5)
    connection.autocommit = True
    return connection


def ask(cloud: Cloud, statement: str) -> list[tuple]:
    connection = connect(cloud)
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def processes(cloud: Cloud) -> list[int]:
    return _processes_in(cloud.home / "postgres" / "data")


@pytest.fixture
def cloud(cloud_folder: Cloud) -> Cloud:
    cloud_folder.start("postgres")
    return cloud_folder


def test_it_has_vectors_and_wants_the_password(cloud: Cloud) -> None:
    assert ask(cloud, "SELECT '[1,2]'::vector <-> '[1,3]'::vector") == [(1.0,)]
    note = cloud.home / "postgres.json"
    assert stat.S_IMODE(note.stat().st_mode) == 0o600
    with pytest.raises(psycopg2.OperationalError, match="password"):
        connect(cloud, password="wrong")


def test_retrievals_user_owns_a_schema_and_nothing_else(cloud: Cloud) -> None:
    # Given
    ask(cloud, "CREATE TABLE secret AS SELECT 42 AS answer")
    note = json.loads((cloud.home / "postgres-retrieval.json").read_text())
    assert stat.S_IMODE((cloud.home / "postgres-retrieval.json").stat().st_mode) == 0o600

    # When
    connection = connect(cloud, user=note["user"], password=note["password"])

    # Then
    try:
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE retrieval.t (v halfvec(2))")
            cursor.execute("INSERT INTO retrieval.t VALUES ('[1,2]')")
            for statement in (
                "SELECT * FROM secret",
                "CREATE TABLE t ()",
                "CREATE SCHEMA s",
                "CREATE ROLE r",
            ):
                with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                    cursor.execute(statement)
    finally:
        connection.close()


def test_retrievals_password_survives_a_stop(cloud: Cloud) -> None:
    before = (cloud.home / "postgres-retrieval.json").read_text()
    cloud.stop("postgres")
    cloud.start("postgres")
    assert (cloud.home / "postgres-retrieval.json").read_text() == before
    note = json.loads(before)
    connect(cloud, user=note["user"], password=note["password"]).close()


def test_it_never_runs_as_root(cloud: Cloud) -> None:
    assert all(Path(f"/proc/{pid}").stat().st_uid != 0 for pid in processes(cloud))


def test_data_and_password_survive_a_stop(cloud: Cloud) -> None:
    ask(cloud, "CREATE TABLE t AS SELECT 42 AS answer")
    before = (cloud.home / "postgres.json").read_text()
    assert cloud.stop("postgres") == 0
    assert processes(cloud) == []
    cloud.start("postgres")
    assert ask(cloud, "SELECT answer FROM t") == [(42,)]
    assert (cloud.home / "postgres.json").read_text() == before


def test_killing_the_component_leaves_no_server_and_loses_nothing(cloud: Cloud) -> None:
    ask(cloud, "CREATE TABLE t AS SELECT 42 AS answer")
    cloud.kill("postgres")
    wait_for(lambda: not processes(cloud), "the server to end", 10)
    cloud.start("postgres")
    assert ask(cloud, "SELECT answer FROM t") == [(42,)]


def test_the_component_ends_when_the_server_is_killed(cloud: Cloud) -> None:
    ask(cloud, "CREATE TABLE t AS SELECT 42 AS answer")
    server = int((cloud.home / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
    os.kill(server, 9)
    component = cloud.running.pop("postgres")
    assert component.wait(10) != 0
    cloud.start("postgres")
    assert ask(cloud, "SELECT answer FROM t") == [(42,)]


def test_a_lock_file_that_names_another_process_does_not_stop_it(cloud: Cloud) -> None:
    cloud.stop("postgres")
    lock = cloud.home / "postgres" / "data" / "postmaster.pid"
    lock.write_text(f"{os.getpid()}\n/somewhere\n0\n{cloud.ports['postgres']}\n\n127.0.0.1\n0 0\nready\n")
    cloud.start("postgres")
    assert ask(cloud, "SELECT 1") == [(1,)]


def test_a_lost_password_is_replaced(cloud: Cloud) -> None:
    ask(cloud, "CREATE TABLE t AS SELECT 42 AS answer")
    cloud.stop("postgres")
    (cloud.home / "postgres.json").unlink()
    cloud.start("postgres")
    assert ask(cloud, "SELECT answer FROM t") == [(42,)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs copies of the programs")
def test_programs_that_the_account_cannot_reach_are_copied_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given: a folder for temporary files that nobody else may pass, as below a checkout made by `mktemp -d`
    monkeypatch.setattr(account, "_passable", lambda _: False)
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    monkeypatch.setattr(account.tempfile, "tempdir", str(private))
    # When
    first = account.Account.choose(tmp_path / "postgres")
    copy = first.programs.parents[2]
    try:
        # Then
        assert account.Account.choose(tmp_path / "postgres").programs == first.programs
        assert all(folder.stat().st_mode & 0o001 for folder in first.programs.parents)
        assert (first.programs / "postgres").stat().st_mode & 0o005 == 0o005
        assert first.user not in (None, 0)
    finally:
        account.forget_copy(tmp_path / "postgres")
    assert not copy.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs copies of the programs")
def test_only_what_was_copied_is_removed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (tmp_path / account.NOTE).write_text(str(precious))
    account.forget_copy(tmp_path)
    assert precious.exists()
