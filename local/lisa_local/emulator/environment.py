"""The environment that the emulator runs in: ours alone, nothing of the caller's.

The emulator hands its whole environment to functions, and takes keys, endpoints and profiles from it.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from lisa_local.component import Settings

FUNCTION_VARIABLES = frozenset(
    {"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "GATEWAY_PORT", "LAMBDA_ACCOUNT_CONCURRENCY"}
)
"""What functions see of this environment, and two settings that the emulator reads while running."""

_KEPT = ("PATH", "LANG", "LC_ALL", "TZ")

IDLE_WORKER_SECONDS = 30
"""Idle surplus workers of a function end after this time."""


def state_folder(settings: Settings) -> Path:
    return settings.home / "emulator"


def enter(settings: Settings) -> None:
    """Replace this process's environment, and clear the temporary files that an earlier run left."""
    folder = state_folder(settings)
    temporary = folder / "tmp"
    shutil.rmtree(temporary, ignore_errors=True)  # unpacked functions and layers of killed workers
    for path in (folder, temporary, folder / "state", folder / "s3"):
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    os.environ.clear()
    os.environ.update({"LANG": "C.UTF-8"} | kept | variables(settings, folder))


def variables(settings: Settings, folder: Path) -> dict[str, str]:
    return {
        # HOME and TMPDIR are ours so that neither ~/.aws nor ~/.docker is read, and nothing is left in /tmp.
        "HOME": str(folder / "tmp"),
        "TMPDIR": str(folder / "tmp"),
        "AUTH": "true",
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(settings.emulator_port),
        "MINISTACK_REGION": settings.region,
        "AWS_DEFAULT_REGION": settings.region,
        "MINISTACK_ACCOUNT_ID": settings.account,
        "PERSIST_STATE": "1",
        "S3_PERSIST": "1",
        "STATE_DIR": str(folder / "state"),
        "S3_DATA_DIR": str(folder / "s3"),
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "LOG_LEVEL": "INFO",
        "LAMBDA_WARM_TTL_SECONDS": str(IDLE_WORKER_SECONDS),
        "DOCKER_HOST": f"unix://{settings.engine_socket}",
        # Our engine answers a start when the container is ready, which takes a minute at most.
        "MINISTACK_DOCKER_TIMEOUT": "90",
        "ECS_RESTORE_RECONCILE_DELAY_SECONDS": "0.5",
    }
