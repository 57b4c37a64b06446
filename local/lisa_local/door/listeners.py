"""The ports of all load balancers, opened and closed as they come and go."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from lisa_local.component import ComponentError
from lisa_local.door import rules
from lisa_local.door.catalogue import Catalogue
from lisa_local.door.proxy import (
    MAX_HEADER_BYTES,
    BadGatewayError,
    NoTargetError,
    Proxy,
    SlowGatewayError,
    forwarded_headers,
    raw_target,
)

logger = logging.getLogger("lisa.door.listeners")

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

RETRY_SECONDS = 2.0


async def open_port(handler: Handler, address: str, port: int) -> web.ServerRunner:
    """Serve `handler` at an address.

    A handler is cancelled when its caller leaves, and with it the request to the target.

    Raises:
        ComponentError: the port is taken.
    """
    server = web.Server(
        handler,
        handler_cancellation=True,
        access_log=None,
        auto_decompress=False,
        keepalive_timeout=120,
        max_line_size=MAX_HEADER_BYTES,
        max_field_size=MAX_HEADER_BYTES,
    )
    runner = web.ServerRunner(server, shutdown_timeout=2)
    await runner.setup()
    try:
        await web.TCPSite(runner, address, port, backlog=1024).start()
    except OSError as error:
        await runner.cleanup()
        raise ComponentError(
            f"port {port} on {address} cannot be opened ({error.strerror or error}): another program uses it."
        ) from None
    return runner


class Listeners:
    def __init__(self, catalogue: Catalogue, proxy: Proxy) -> None:
        self._catalogue = catalogue
        self._proxy = proxy
        self._open: dict[tuple[str, int], web.ServerRunner] = {}

    async def run(self) -> None:
        """Follow the catalogue for ever."""
        while True:
            complete = await self.follow()
            try:
                await asyncio.wait_for(self._catalogue.changed.wait(), None if complete else RETRY_SECONDS)
            except TimeoutError:
                continue

    async def follow(self) -> bool:
        """Open and close ports until they are those of the catalogue; False if one could not be opened."""
        self._catalogue.changed.clear()
        wanted = {key for key in self._catalogue.listeners if key[0].startswith("127.")}
        for key in [key for key in self._open if key not in wanted]:
            await self._open.pop(key).cleanup()
            logger.info("closed %s:%d", *key)
        complete = True
        for key in sorted(wanted - self._open.keys()):
            try:
                self._open[key] = await open_port(self._handler(key), *key)
                logger.info("listening on %s:%d", *key)
            except ComponentError as error:
                logger.error("%s", error)
                complete = False
        return complete

    async def close(self) -> None:
        await asyncio.gather(*(runner.cleanup() for runner in self._open.values()))
        self._open.clear()

    def _handler(self, key: tuple[str, int]) -> Handler:
        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            listener = self._catalogue.listeners.get(key)
            if listener is None:
                return _plain(503, "This listener is gone.")
            return await self._balance(request, listener)

        return handle

    async def _balance(self, request: web.BaseRequest, listener: rules.Listener) -> web.StreamResponse:
        target = raw_target(request)
        described = describe(request, target)
        match listener.action(described):
            case rules.FixedResponse(status, content_type, body):
                return web.Response(status=status, text=body, headers={"Content-Type": content_type})
            case rules.Redirect(status) as redirect:
                location = redirect.location(described, "http", listener.port)
                return web.Response(status=status, headers={"Location": location})
            case rules.Forward() as forward:
                group = self._catalogue.group(forward.choose())
                headers = forwarded_headers(request, trust_caller=True)
                headers["X-Forwarded-Port"] = str(listener.port)
                try:
                    return await self._proxy.to_group(request, group, target, headers)
                except NoTargetError:
                    return _plain(503, "503 Service Temporarily Unavailable", {"Retry-After": "2"})
                except BadGatewayError:
                    return _plain(502, "502 Bad Gateway")
                except SlowGatewayError:
                    return _plain(504, "504 Gateway Time-out")
        raise AssertionError("every action is handled")


def describe(request: web.BaseRequest, target: str) -> rules.Request:
    """What listener rules see of a request."""
    path, _, query = target.partition("?")
    return rules.Request(request.method, request.headers.get("Host", ""), path, query, request.headers)


def _plain(status: int, text: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, text=text + "\n", headers=headers)
