"""The data folder and the passwords: the superuser's, and that of retrieval's own user."""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from lisa_local.component import ComponentError, Settings, write_private
from lisa_local.postgres.account import Account

logger = logging.getLogger("lisa.postgres")

HOST = "127.0.0.1"
USER = "postgres"
DATABASE = "lisa"
RETRIEVAL_USER = "lisa_retrieval"
RETRIEVAL_NOTE = "postgres-retrieval.json"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What `<home>/postgres.json` holds, and `<home>/postgres-retrieval.json` for retrieval's own user."""

    host: str
    port: int
    user: str
    password: str
    database: str


def data_folder(settings: Settings) -> Path:
    return settings.home / "postgres" / "data"


def prepare(settings: Settings, account: Account) -> Credentials:
    """Make the data folder if there is none, and write the credentials.

    Raises:
        ComponentError: PostgreSQL could not make it.
    """
    note = settings.home / "postgres.json"
    data = data_folder(settings)
    password = _stored_password(note)
    made = not data.exists()
    if made:
        password = secrets.token_urlsafe(24)
        _initialise(data, account, password)
    elif password is None:
        password = secrets.token_urlsafe(24)
        _set_password(data, account, password)
    assert password is not None  # noqa: S101 - for the type checker
    credentials = Credentials(HOST, settings.postgres_port, USER, password, DATABASE)
    write_private(note, json.dumps(asdict(credentials)) + "\n")
    return credentials


def retrieval(settings: Settings) -> Credentials:
    """Retrieval's own user; its password is made once and handed to the application when it is deployed."""
    note = settings.home / RETRIEVAL_NOTE
    password = _stored_password(note) or secrets.token_urlsafe(24)
    credentials = Credentials(HOST, settings.postgres_port, RETRIEVAL_USER, password, DATABASE)
    write_private(note, json.dumps(asdict(credentials)) + "\n")
    return credentials


def _stored_password(note: Path) -> str | None:
    try:
        return str(json.loads(note.read_text())["password"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _initialise(data: Path, account: Account, password: str) -> None:
    partial = data.with_name("data.partial")
    shutil.rmtree(partial, ignore_errors=True)  # from a start that was interrupted
    partial.mkdir(mode=0o700)
    account.own(partial)
    # The password goes through a pipe: a file would have to be readable to the account.
    reader, writer = os.pipe()
    account.own(reader)
    os.write(writer, password.encode() + b"\n")
    os.close(writer)
    try:
        with account.data(partial) as (path, options):
            options["pass_fds"] = (*options.get("pass_fds", ()), reader)
            _run(
                [
                    str(account.programs / "initdb"),
                    f"--pgdata={path}",
                    f"--username={USER}",
                    "--auth=scram-sha-256",
                    f"--pwfile=/dev/fd/{reader}",
                    "--encoding=UTF8",
                    "--locale=C.UTF-8",
                    "--no-instructions",
                ],
                account,
                options,
            )
    finally:
        os.close(reader)
    partial.rename(data)
    logger.info("made the data folder %s", data)


def _set_password(data: Path, account: Account, password: str) -> None:
    """Give the superuser a new password while the server is down: the file that held it is gone."""
    logger.warning("postgres.json is missing: setting a new password")
    statement = f"ALTER USER {USER} PASSWORD '{password}'\n"  # ours: letters, digits, - and _ only
    with account.data(data) as (path, options):
        options["input"] = statement
        del options["stdin"]
        _run([str(account.programs / "postgres"), "--single", "-D", path, "postgres"], account, options)


def _run(command: list[str], account: Account, options: dict[str, object]) -> None:
    result = subprocess.run(  # type: ignore[call-overload]
        command, env=account.environment(), capture_output=True, text=True, check=False, **options
    )
    if result.returncode != 0:
        lines = (result.stderr or result.stdout).strip().splitlines()
        raise ComponentError(f"{Path(command[0]).name} failed: {' '.join(lines[-3:]) or result.returncode}")
