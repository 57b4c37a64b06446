"""`lisa token`: sign-in tokens, and API tokens made, listed and revoked through the public API."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import Any

from lisa_local.bringup.users import Directory
from lisa_local.cloud import LocalCloud
from lisa_local.console import Problem

DAY = 86_400
PATH = "/api/api-tokens"


def sign_in(cloud: LocalCloud, user: str) -> None:
    print(Directory(cloud).token(user))


def create(cloud: LocalCloud, user: str, name: str, days: int | None) -> None:
    """Print the secret alone, so that a shell can take it; all else goes to standard error."""
    body: dict[str, Any] = {"name": name}
    if days is not None:
        body["tokenExpiration"] = int(time.time()) + days * DAY
    made = _call(cloud, user, "POST", PATH, body)
    print(
        f"{made['tokenUUID']} is good until {_date(made['tokenExpiration'])}. It is shown this once.",
        file=sys.stderr,
    )
    print(made["token"])


def show(cloud: LocalCloud, user: str) -> None:
    rows = [("UUID", "USER", "NAME", "GROUPS", "GOOD UNTIL", "LAST USED")]
    for token in _call(cloud, user, "GET", PATH)["tokens"]:
        until = "expired" if token["isExpired"] else _date(token["tokenExpiration"])
        used = "never" if token["lastUsed"] is None else _date(token["lastUsed"])
        groups = ",".join(token["groups"]) or "-"
        rows.append((token["tokenUUID"], token["username"], token["name"], groups, until, used))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def revoke(cloud: LocalCloud, user: str, uuid: str) -> None:
    print(_call(cloud, user, "DELETE", f"{PATH}/{uuid}")["message"])


def _call(cloud: LocalCloud, user: str, method: str, path: str, body: Any = None) -> dict[str, Any]:
    answer = cloud.call(method, path, token=Directory(cloud).token(user), body=body)
    if answer.status >= 400:
        raise Problem(answer.message)
    return dict(answer.body)


def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
