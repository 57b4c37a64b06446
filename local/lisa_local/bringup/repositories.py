"""The repository `default` of `lisa up`: made through the public API, as an administrator makes one on AWS."""

from __future__ import annotations

from typing import Any

from lisa_local.bringup.management import ManagementApi, expect, wait
from lisa_local.console import Problem

READY_SECONDS = 120.0
REPOSITORY = "default"
EMBEDDING_MODEL = "all-minilm-l6-v2"
DEFINITION: dict[str, Any] = {
    "repositoryId": REPOSITORY,
    "repositoryName": "Default",
    "type": "pgvector",
    "embeddingModelId": EMBEDDING_MODEL,
    "allowedGroups": [],
    "rdsConfig": {},
}
READY = frozenset({"CREATE_COMPLETE", "UPDATE_IN_PROGRESS", "UPDATE_COMPLETE", "UPDATE_FAILED"})


def set_up(api: ManagementApi) -> None:
    """Create the repository unless it is there, one that failed again, and wait until it takes documents.

    Raises:
        Problem: it failed, with its reason, or it took too long.
    """
    path = f"/api/repository/{REPOSITORY}"
    found = api.call("GET", path)
    if found.status == 200 and found.body["status"] == "CREATE_FAILED":
        expect(api.call("DELETE", path), 200)
        wait(lambda: api.call("GET", path).status == 404, "the failed repository is not gone", READY_SECONDS)
        found = api.call("GET", path)
    if found.status == 404:
        expect(api.call("POST", "/api/repository", DEFINITION), 200, 201)
    wait(
        lambda: _status(api, path, "The repository default") in READY,
        "the repository default is not ready",
        READY_SECONDS,
    )
    wait(
        lambda: _status(api, f"{path}/collection/{EMBEDDING_MODEL}", "Its default collection") == "ACTIVE",
        "its default collection is not ready",
        READY_SECONDS,
    )


def _status(api: ManagementApi, path: str, what: str) -> str:
    """What has become of it; raises Problem with the reason when it could not be made."""
    found = expect(api.call("GET", path), 200).body
    if found["status"] == "CREATE_FAILED":
        raise Problem(f"{what} could not be made: {found['statusReason']} (lisa logs emulator).")
    return str(found["status"])
