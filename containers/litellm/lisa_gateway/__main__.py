"""`python -m lisa_gateway`: the gateway's one process, and LiteLLM's beside it."""

import asyncio
import logging
import signal
import sys

import boto3
import uvloop
from botocore.config import Config
from lisa.audit.publisher import AuditPublisher
from lisa.identity import TokenVerifier
from lisa.limits.counters import CounterStore
from lisa.limits.store import LimitStore
from lisa.models.routes import RouteStore

from lisa_gateway.access_log import configure_logging
from lisa_gateway.application import Application
from lisa_gateway.audit import keep
from lisa_gateway.limits import Limits
from lisa_gateway.retrieval.functions import LambdaInvoker
from lisa_gateway.retrieval.objects import S3Bucket
from lisa_gateway.settings import Settings
from lisa_gateway.usage import SqsQueue

log = logging.getLogger("lisa_gateway")

_AWS = Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 2})


# The usage's thread tries again by itself, and has a second from one flush to the next.
_QUEUE = Config(connect_timeout=1, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 1})


# Requests may wait for it; there is a rule for when it does not answer. Nothing is tried twice: additions would count
# twice when an answer is lost.
_LIMITS = Config(
    connect_timeout=1,
    read_timeout=1,
    retries={"mode": "standard", "total_max_attempts": 1},
    max_pool_connections=16,
)


def open_limits(table: str) -> tuple[LimitStore, CounterStore]:
    client = boto3.session.Session().client("dynamodb", config=_LIMITS)
    return LimitStore(table, client), CounterStore(table, client)


def read_secret(arn: str) -> str:
    """A provider's key. Rarely called, from any thread: a session of its own, because boto3's are not shared."""
    client = boto3.session.Session().client("secretsmanager", config=_AWS)
    return client.get_secret_value(SecretId=arn)["SecretString"]


def open_audit(bus: str) -> AuditPublisher:
    client = boto3.session.Session().client("events", config=_AWS)
    return AuditPublisher(bus, lambda: client, keep)


# A search waits for the model and the store; a function that starts takes seconds more. Writes are not made twice.
_FUNCTIONS = Config(
    connect_timeout=2,
    read_timeout=60,
    retries={"mode": "standard", "total_max_attempts": 1},
    max_pool_connections=16,
)


def open_invoker() -> LambdaInvoker:
    return LambdaInvoker(boto3.session.Session().client("lambda", config=_FUNCTIONS))


def open_bucket(name: str) -> S3Bucket:
    config = Config(connect_timeout=2, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 3})
    return S3Bucket(boto3.session.Session().client("s3", config=config), name)


async def serve(settings: Settings) -> None:
    """Runs until SIGTERM or SIGINT, then lets answers under way end."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    application = Application(
        settings,
        verifier=TokenVerifier.from_settings(settings.identity),
        open_store=lambda: RouteStore(
            settings.models_table, boto3.session.Session().client("dynamodb", config=_AWS)
        ),
        read_secret=read_secret,
        limits=Limits(lambda: open_limits(settings.limits_table)),
        open_usage_queue=lambda: SqsQueue(
            settings.usage_queue_url, boto3.session.Session().client("sqs", config=_QUEUE)
        ),
        open_audit=lambda: open_audit(settings.event_bus),
        open_invoker=open_invoker,
        open_bucket=lambda: open_bucket(settings.documents_bucket),
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
