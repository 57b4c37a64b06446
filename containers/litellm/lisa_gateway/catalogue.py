"""The models that this gateway routes to, kept in step with the models table."""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol
from urllib.parse import urlsplit

from lisa.models.engines import speaks
from lisa.models.routes import HostedTarget, ProviderTarget, Route

from lisa_gateway.endpoints import ENDPOINTS
from lisa_gateway.http.client import Address

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
HEARTBEAT_SECONDS = 10.0


class LiveRoute:
    """A route with everything that a request needs, made ready once."""

    __slots__ = ("address", "allowed", "heads", "needs_litellm", "route")

    def __init__(self, route: Route) -> None:
        self.route = route
        self.allowed = frozenset(route.allowed_groups)
        self.address = Address()
        # The request's head for each endpoint that the engine speaks; what is missing goes through LiteLLM.
        self.heads: dict[str, bytes] = {}
        target = route.target
        if isinstance(target, HostedTarget):
            url = urlsplit(target.base_url)
            self.address = Address(host=url.hostname or "", port=url.port or 80)
            for name, endpoint in ENDPOINTS.items():
                if speaks(target.engine, name) and route.mode in endpoint.modes:
                    self.heads[name] = request_head(
                        f"{url.path.rstrip('/')}{endpoint.path}", target.host_header
                    )
        self.needs_litellm = isinstance(target, ProviderTarget) or any(
            route.mode in endpoint.modes and route.mode == "chat" and name not in self.heads
            for name, endpoint in ENDPOINTS.items()
        )


def request_head(path: str, host: str) -> bytes:
    """The start of a request, up to where its content type, id and length follow."""
    for value in (path, host):
        if not value.isascii() or not value.isprintable() or " " in value:
            raise ValueError(f"not usable in a request: {value!r}")
    return f"POST {path} HTTP/1.1\r\nhost: {host}\r\n".encode("ascii")


class Store(Protocol):
    """What is asked of `lisa.models.routes.RouteStore`."""

    def version(self) -> int: ...
    def routes(self) -> tuple[int, list[Route]]: ...
    def acknowledge(self, instance_id: str, version: int) -> None: ...


Publish = Callable[[int, list[Route]], Awaitable[None]]


class Catalogue:
    """The routes in use, by model id. Replaced as a whole, in the event loop's thread."""

    def __init__(self) -> None:
        self.version = -1
        self.routes: Mapping[str, LiveRoute] = {}

    @property
    def loaded(self) -> bool:
        return self.version >= 0

    def replace(self, version: int, routes: list[Route]) -> None:
        live = {}
        for route in routes:
            known = self.routes.get(route.model_id)
            if known is not None and known.route == route:
                live[route.model_id] = known
                continue
            try:
                live[route.model_id] = LiveRoute(route)
            except ValueError:
                log.exception("route left out", extra={"model": route.model_id})
        self.routes, self.version = live, version


class Watcher:
    """Looks at the table each second, publishes what changed and acknowledges it.

    In a thread of its own, because boto3 waits. While the table cannot be read the last catalogue stays.
    """

    def __init__(
        self,
        store: Store,
        instance_id: str,
        publish: Publish,
        loop: asyncio.AbstractEventLoop,
        *,
        poll_seconds: float = POLL_SECONDS,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self._store = store
        self._instance_id = instance_id
        self._publish = publish
        self._loop = loop
        self._poll_seconds = poll_seconds
        self._heartbeats = max(1, round(heartbeat_seconds / poll_seconds))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="catalogue", daemon=True)
        self._version = -1
        self._failing = False

    def start(self) -> None:
        self._thread.start()

    async def stop(self) -> None:
        self._stop.set()
        await asyncio.to_thread(self._thread.join, 5)

    def _run(self) -> None:
        silent = 0
        while not self._stop.is_set():
            try:
                changed = self._poll()
                silent = 0 if changed else silent + 1
                if silent >= self._heartbeats:
                    self._store.acknowledge(self._instance_id, self._version)
                    silent = 0
                if self._failing:
                    log.info("the models table can be read again")
                self._failing = False
            except Exception as error:  # whatever it is, the next look may succeed
                if not self._failing:
                    log.warning("the models table cannot be read", extra={"reason": str(error)})
                self._failing = True
            self._stop.wait(self._poll_seconds)

    def _poll(self) -> bool:
        if self._store.version() == self._version:
            return False
        version, routes = self._store.routes()
        done = asyncio.run_coroutine_threadsafe(_await(self._publish(version, routes)), self._loop)
        while not self._stop.is_set():
            try:
                done.result(timeout=0.5)
                break
            except TimeoutError:
                continue
        else:
            done.cancel()
            return False
        self._version = version
        self._store.acknowledge(self._instance_id, version)
        return True


async def _await(work: Awaitable[None]) -> None:
    await work
