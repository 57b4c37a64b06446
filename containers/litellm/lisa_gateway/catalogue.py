"""The models that this gateway routes to, kept in step with the models table."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Protocol
from urllib.parse import urlsplit

from lisa.models.engines import speaks
from lisa.models.routes import HostedTarget, ProviderTarget, Route

from lisa_gateway.endpoints import ENDPOINTS
from lisa_gateway.http.client import Address

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
HEARTBEAT_SECONDS = 10.0
# How long a change waits for LiteLLM, which may just be starting, before it is acknowledged without: until
# LiteLLM knows a model, calls of it answer 503.
APPLY_SECONDS = 30.0


class LiveRoute:
    """A route with everything that a request needs, made ready once."""

    __slots__ = ("address", "allowed", "guardrails", "heads", "needs_litellm", "route")

    def __init__(self, route: Route) -> None:
        self.route = route
        self.allowed = frozenset(route.allowed_groups)
        self.guardrails = route.guardrails
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
    def leave(self, instance_id: str) -> None: ...


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
    """Looks at the table each second, publishes what changed and acknowledges it once it is in force.

    In a thread of its own, because boto3 waits. While the table cannot be read the last catalogue stays.
    """

    def __init__(
        self,
        open_store: Callable[[], Store],
        instance_id: str,
        publish: Callable[[int, list[Route]], None],
        in_force: Callable[[], bool],
        loop: asyncio.AbstractEventLoop,
        *,
        poll_seconds: float = POLL_SECONDS,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self._open_store = open_store
        self._store: Store | None = None
        self._instance_id = instance_id
        self._publish = publish
        self._in_force = in_force
        self._loop = loop
        self._poll_seconds = poll_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="catalogue", daemon=True)
        self._published = -1
        self._published_at = 0.0
        self._acknowledged = -1
        self._acknowledged_at = 0.0
        self._failing = False

    def start(self) -> None:
        self._thread.start()

    async def stop(self) -> None:
        self._stop.set()
        await asyncio.to_thread(self._thread.join, 5)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._look()
            except Exception as error:  # whatever it is, the next look may succeed
                if not self._failing:
                    log.warning("the models table cannot be read", extra={"reason": str(error)})
                self._failing = True
            else:
                if self._failing:
                    log.info("the models table can be read again")
                self._failing = False
            self._stop.wait(self._poll_seconds)
        if self._store is not None and self._acknowledged_at:
            try:
                self._store.leave(self._instance_id)
            except Exception as error:  # then it is waited for until it counts as dead
                log.warning("could not say goodbye", extra={"reason": str(error)})

    def _look(self) -> None:
        store = self._store
        if store is None:
            # Opened here and not at start: credentials and addresses may not be there yet.
            store = self._store = self._open_store()
        if store.version() != self._published:
            version, routes = store.routes()
            if not self._hand_over(version, routes):
                return
            self._published, self._published_at = version, time.monotonic()
        if self._published != self._acknowledged:
            self._await_force()
        now = time.monotonic()
        settled = now - self._published_at > APPLY_SECONDS or self._in_force()
        due = self._published if settled else self._acknowledged
        if due >= 0 and (due != self._acknowledged or now - self._acknowledged_at >= self._heartbeat_seconds):
            store.acknowledge(self._instance_id, due)
            self._acknowledged, self._acknowledged_at = due, now

    def _hand_over(self, version: int, routes: list[Route]) -> bool:
        """Publishes in the event loop's thread, and waits for that; False when the gateway is stopping."""
        done = threading.Event()

        def publish() -> None:
            self._publish(version, routes)
            done.set()

        self._loop.call_soon_threadsafe(publish)
        while not done.wait(0.1):
            if self._stop.is_set():
                return False
        return True

    def _await_force(self) -> None:
        """Gives LiteLLM a moment, so that a change is acknowledged at this look and not at the next."""
        deadline = time.monotonic() + self._poll_seconds
        while not self._in_force() and time.monotonic() < deadline and not self._stop.wait(0.02):
            pass
