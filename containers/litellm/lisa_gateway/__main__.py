"""`python -m lisa_gateway`: the gateway's one process, and LiteLLM's beside it."""

import asyncio
import logging
import signal
import sys

import boto3
import uvloop
from lisa.identity import TokenVerifier
from lisa.models.routes import RouteStore

from lisa_gateway.access_log import configure_logging
from lisa_gateway.application import Application
from lisa_gateway.settings import Settings

log = logging.getLogger("lisa_gateway")


async def serve(settings: Settings) -> None:
    """Runs until SIGTERM or SIGINT, then lets answers under way end."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    manager = boto3.client("secretsmanager")
    application = Application(
        settings,
        verifier=TokenVerifier.from_settings(settings.identity),
        store=RouteStore(settings.models_table, boto3.client("dynamodb")),
        read_secret=lambda arn: str(manager.get_secret_value(SecretId=arn)["SecretString"]),
    )
    port = await application.start()
    log.info("listening", extra={"host": settings.host, "port": port, "instance": settings.instance_id})
    await stop.wait()
    log.info("stopping")
    await application.stop()


def main() -> None:
    configure_logging()
    try:
        settings = Settings.from_environment()
    except ValueError as error:
        sys.exit(f"lisa_gateway: {error}")
    uvloop.run(serve(settings))


if __name__ == "__main__":
    main()
