"""Serves the emulator on loopback, with our routes before its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
from typing import Any

import hypercorn.asyncio
from hypercorn.config import Config
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope
from ministack import app as emulator
from ministack.core import lambda_runtime, persistence

from lisa_local.component import ComponentError, Settings, announce_ready, stop_event
from lisa_local.emulator import bridges, environment, internal, operator
from lisa_local.emulator.bridges import container_credentials, control_routes
from lisa_local.emulator.checkpoint import Checkpointer

logger = logging.getLogger("lisa.emulator")

GRACE_SECONDS = 3.0
"""Requests in flight get this long at a stop."""


class Host:
    """The ASGI application: a gate in front of the emulator, and our steps around its start and stop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.context = bridges.Context(settings, environment.state_folder(settings), secrets.token_bytes(32))
        self.checkpointer = Checkpointer()
        self.saved = False

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] == container_credentials.PATH:
            await self._container_credentials(scope, send)
        elif scope["type"] == "http" and control_routes.is_closed(scope["path"]):
            await _answer(send, 403, {"message": "this route of the emulator is closed"})
        else:
            await emulator.app(scope, receive, send)

    async def _lifespan(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        async def receive_ours() -> Any:
            event = await receive()
            if event["type"] == "lifespan.shutdown":
                # The emulator saves when it hears this; nothing may be written beside it.
                await self.checkpointer.stop()
            return event

        async def send_ours(event: Any) -> None:
            if event["type"] == "lifespan.startup.complete":
                await operator.ensure(self.settings)
                await self.checkpointer.save()
                self.checkpointer.start()
            elif event["type"] == "lifespan.shutdown.complete":
                self.saved = True
            await send(event)

        await emulator.app(scope, receive_ours, send_ours)  # type: ignore[no-untyped-call]

    async def _container_credentials(self, scope: Any, send: ASGISendCallable) -> None:
        headers = dict(scope["headers"])
        token = headers.get(b"authorization", b"").decode("latin-1")
        credentials = container_credentials.issue(self.context, token) if scope["method"] == "GET" else None
        if credentials is None:
            await _answer(send, 403, {"code": "AccessDenied", "message": "no running task has this token"})
        else:
            await _answer(send, 200, credentials)


async def _answer(send: Any, status: int, body: dict[str, Any]) -> None:
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM, then save.

    Raises:
        ComponentError: the port is taken, a bridge does not fit, or the saved state cannot be read.
    """
    stopping = stop_event()
    host = Host(settings)
    bridges.install(host.context)
    for name in ("hypercorn.access", "hypercorn.error", "werkzeug"):
        logging.getLogger(name).setLevel(logging.WARNING)
    config = Config()
    config.bind = [f"127.0.0.1:{settings.emulator_port}"]
    config.keep_alive_timeout = 75
    config.graceful_timeout = GRACE_SECONDS
    config.startup_timeout = 120  # a big state takes long to read
    config.loglevel = "WARNING"

    routes = await internal.start(settings)
    ready = asyncio.create_task(_announce_when_open(settings.emulator_port))
    try:
        await hypercorn.asyncio.serve(host, config, shutdown_trigger=stopping.wait)  # type: ignore[arg-type]
    except OSError as error:
        raise ComponentError(
            f"port {settings.emulator_port} cannot be opened: {error.strerror or error}."
        ) from None
    except asyncio.CancelledError:
        # hypercorn's way out when a request outlives the grace period.
        logger.warning("stopped with a request still running")
    except Exception as error:
        raise (_cause(error) or error) from None
    finally:
        ready.cancel()
        await routes.cleanup()
        if host.checkpointer.started and not host.saved:
            await host.checkpointer.stop()
            persistence.save_all(emulator._build_persistence_save_dict())
        lambda_runtime.reset()
    logger.info("stopped, state saved")


def _cause(error: BaseException) -> ComponentError | None:
    """The sentence inside what a server's start-up wraps it in."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ComponentError):
            return seen
        if isinstance(seen, BaseExceptionGroup):
            return next((cause for each in seen.exceptions if (cause := _cause(each))), None)
        seen = seen.__cause__ or seen.__context__
    return None


async def _announce_when_open(port: int) -> None:
    while True:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            announce_ready()
            return
        await asyncio.sleep(0.05)
