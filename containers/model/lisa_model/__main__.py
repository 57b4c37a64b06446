"""`python -m lisa_model` fetches the weights and becomes the engine; `... health` asks whether it serves."""

from __future__ import annotations

import os
import signal
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from lisa_model.errors import ConfigurationError, StartError
from lisa_model.settings import Settings

if TYPE_CHECKING:
    from lisa_model.weights import Choose, Snapshot

_HEALTH_TIMEOUT_S = 4


def main(arguments: list[str]) -> int:
    try:
        if arguments == ["health"]:
            return health()
        if arguments:
            raise ConfigurationError(f"Unknown argument {arguments[0]!r}: use none, or `health`.")
        serve()
    except StartError as error:
        print(error, file=sys.stderr, flush=True)
        return error.exit_code
    return 0


def serve() -> None:
    """Does not come back: the engine takes over this process, and with it the signals sent to it."""
    # As the first process of a container a signal without a handler is ignored. Nothing needs to be
    # tidied up: what was fetched so far is used again, and the locks go with the process.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))

    settings = Settings.from_environment(os.environ)
    from lisa_model.engines import ENGINES  # boto3 comes with it: a wrong setting is said at once

    engine = ENGINES[settings.engine]
    engine.check(settings)
    snapshot = _fetch(settings, engine.choose)
    launch = engine.launch(settings, snapshot)
    environment = {**launch.environment, **os.environ, **settings.container_environment}
    say(f"starting {settings.engine} for {settings.model_id} on port {settings.port}")
    try:
        os.execvpe(launch.command[0], launch.command, environment)  # noqa: S606 -- no shell is wanted
    except FileNotFoundError:
        raise ConfigurationError(
            f"This image has no {launch.command[0]!r}: use an image for the engine {settings.engine}."
        ) from None


def _fetch(settings: Settings, choose: Choose) -> Snapshot:
    import boto3
    from botocore.config import Config

    from lisa_model.weights import S3Objects, WeightsCache
    from lisa_model.weights.download import PARALLEL

    config = Config(
        max_pool_connections=2 * PARALLEL,
        connect_timeout=5,
        read_timeout=30,
        retries={"mode": "standard", "max_attempts": 4},
        # Objects are checked as a whole after the last range, by what `S3Objects.fingerprint` says.
        response_checksum_validation="when_required",
    )
    objects = S3Objects(boto3.client("s3", config=config), settings.bucket, settings.prefix)
    return WeightsCache(objects, settings.weights_dir, say, choose).update()


def health() -> int:
    """0 when the server in this container says that it serves: the container's health check."""
    host = os.environ.get("HOST", "")
    # A server that listens everywhere is asked on loopback.
    address = host if host not in ("", "0.0.0.0", "::") else "127.0.0.1"  # noqa: S104
    port = os.environ.get("PORT") or "8080"
    try:
        with urllib.request.urlopen(f"http://{address}:{port}/health", timeout=_HEALTH_TIMEOUT_S) as answer:
            return 0 if answer.status == 200 else 1
    except (urllib.error.URLError, OSError, ValueError) as error:
        print(f"not serving: {error}", file=sys.stderr)
        return 1


_STARTED = time.monotonic()


def say(line: str) -> None:
    """A line of progress, with the seconds since the start."""
    print(f"[{time.monotonic() - _STARTED:6.2f} s] {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
