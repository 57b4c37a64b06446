"""One way in for every route and every header: who are you, may you, is it well formed, where does it go."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from lisa.errors import LisaError
from lisa.identity import RULES, Principal, Who, authorize, rule_for
from lisa.models.routes import HostedTarget

from lisa_gateway import multipart
from lisa_gateway.access_log import AccessLog
from lisa_gateway.answers import Dialect, send_error
from lisa_gateway.callers import Callers
from lisa_gateway.catalogue import Catalogue, LiveRoute
from lisa_gateway.endpoints import ENDPOINTS, Endpoint
from lisa_gateway.forwarding import Call, Forwarder
from lisa_gateway.guardrails import Guard, Guards, Held
from lisa_gateway.health import Health
from lisa_gateway.http.client import Address
from lisa_gateway.http.exchange import Exchange
from lisa_gateway.limits import Limits
from lisa_gateway.listing import STARTING_RETRY_SECONDS, Listing, no_model, starting
from lisa_gateway.litellm_process import LiteLLM
from lisa_gateway.metrics import Metrics
from lisa_gateway.repairs import Repair, repair_for
from lisa_gateway.retrieval.file_search import FileSearch, Searched, wants_search
from lisa_gateway.retrieval.routes import PATHS, Retrieval
from lisa_gateway.upstream_errors import unavailable
from lisa_gateway.usage import UsageRecorder
from lisa_gateway.validation import check_fields, forbidden, model_of, not_allowed, parse_object, refuse

log = logging.getLogger(__name__)

PREFIXES = ("/v1", "/v2/serve/v1", "/v2/serve")
CLIENT_LEFT = 499  # nginx's number for it; only logs and metrics see it

Answer = Callable[[Exchange, Principal | None], Awaitable[None]]


class Gateway:
    """Answers exchanges. Knows nothing of sockets, AWS or the LiteLLM process."""

    def __init__(  # noqa: PLR0913 - its parts, each by name
        self,
        *,
        callers: Callers,
        catalogue: Catalogue,
        forwarder: Forwarder,
        litellm: LiteLLM,
        metrics: Metrics,
        access_log: AccessLog,
        usage: UsageRecorder,
        guards: Guards,
        limits: Limits | None,
        retrieval: Retrieval,
        file_search: FileSearch,
        base_path: str = "",
    ) -> None:
        self._who = callers.who
        self._catalogue = catalogue
        self._forwarder = forwarder
        self._litellm = litellm
        self._metrics = metrics
        self._access_log = access_log
        self._usage = usage
        self._guards = guards
        self._limits = limits
        self._retrieval = retrieval
        self._file_search = file_search
        self._base_path = base_path
        self._inference, self._others = self._dispatch()
        # To ask how long a prompt is uses nothing.
        self._used = frozenset(path for path in self._inference if not path.endswith("/count_tokens"))

    def _dispatch(self) -> tuple[dict[str, Endpoint], dict[str, Answer]]:
        """What answers each rule's path; a rule without an answer is a mistake found at start."""
        health, listing = Health(self._catalogue, self._limits, self._metrics), Listing(self._catalogue)
        others: dict[str, Answer] = {
            "/health": health.healthy,
            "/health/liveliness": health.alive,
            "/health/readiness": health.ready,
            "/metrics": health.metrics,
            "/v2/serve/health": health.healthy,
            "/v2/serve/health/liveliness": health.alive,
            "/v2/serve/health/readiness": health.ready,
            "/v2/serve/model/info": listing.info,
        }
        inference = {}
        for prefix in PREFIXES:
            others[prefix + "/models"] = listing.models
            others[prefix + "/models/{modelId}"] = listing.model
            for path in PATHS:
                others[prefix + path] = self._retrieval.answer
            for name, endpoint in ENDPOINTS.items():
                inference[f"{prefix}/{name}"] = endpoint
        declared = {rule.path for rule in RULES if rule.door == "gateway"}
        if declared != set(inference) | set(others):
            raise RuntimeError(f"policy and routes differ: {declared ^ (set(inference) | set(others))}")
        return inference, others

    async def handle(self, exchange: Exchange) -> None:
        """Answers one request, whatever happens, and writes down that it did."""
        path = exchange.path
        if self._base_path and path.startswith(self._base_path + "/"):
            path = path[len(self._base_path) :]
        # With one slash at the end it is the same route, and the same dialect of errors.
        endpoint = self._inference.get(path) or self._inference.get(path.removesuffix("/"))
        self._metrics.in_flight += 1
        try:
            await self._answer(exchange, path)
        except LisaError as error:
            self._fail(exchange, error, endpoint)
        except asyncio.CancelledError:
            exchange.status = CLIENT_LEFT
            raise
        except Exception:
            log.exception("request failed", extra={"requestId": exchange.request_id.decode()})
            message = "The gateway failed; its operators need the request id."
            self._fail(exchange, LisaError(message, code="internal", status=500), endpoint)
        finally:
            self._metrics.in_flight -= 1
            self._write_down(exchange)

    async def _answer(self, exchange: Exchange, path: str) -> None:
        rule = rule_for("gateway", exchange.method, path)
        if rule is None:
            raise self._unknown(path, exchange.method)
        exchange.endpoint = rule.path
        principal = None if rule.who is Who.PUBLIC else await self._who(exchange)
        authorize(rule, principal)
        endpoint = self._inference.get(rule.path)
        if endpoint is not None and principal is not None:
            await self._infer(exchange, endpoint, principal)
        else:
            await self._others[rule.path](exchange, principal)

    def _fail(self, exchange: Exchange, error: LisaError, endpoint: Endpoint | None) -> None:
        if exchange.started:
            exchange.error = error.code
            exchange.break_off()
        else:
            send_error(exchange, error, endpoint.dialect if endpoint is not None else Dialect.OPENAI)

    def refuse(self, exchange: Exchange, status: int, why: str) -> None:
        """The server's own refusals, in the shape of all others."""
        codes = {413: "request_too_large", 431: "headers_too_large"}
        anthropic = exchange.path.endswith(("/messages", "/messages/count_tokens"))
        error = LisaError(why, code=codes.get(status, "invalid_http"), status=status)
        send_error(exchange, error, Dialect.ANTHROPIC if anthropic else Dialect.OPENAI)
        self._write_down(exchange)

    def _write_down(self, exchange: Exchange) -> None:
        now = time.perf_counter()
        seconds = now - exchange.received_at
        first_byte = (exchange.first_byte_at or now) - exchange.received_at
        # Only names from our own tables become labels; what a caller made up does not.
        self._metrics.record(
            exchange.endpoint, exchange.model, exchange.status, seconds, first_byte, exchange.usage
        )
        if exchange.endpoint in self._used:
            if self._limits is not None:
                self._limits.settle(exchange)
            first_event = exchange.first_event_at
            self._usage.add(
                (
                    now,
                    exchange.principal,
                    exchange.model,
                    exchange.status,
                    seconds,
                    first_event - exchange.received_at if first_event else 0.0,
                    exchange.usage,
                    exchange.cost,
                    exchange.estimated,
                )
            )
        elif exchange.endpoint in _QUIET and exchange.status == 200:
            return
        self._access_log.add(
            (
                exchange.received_at,
                exchange.request_id,
                exchange.endpoint or exchange.path[:200],
                exchange.method,
                exchange.status,
                exchange.principal.user if exchange.principal is not None else "",
                exchange.model,
                seconds,
                first_byte,
                exchange.usage,
                exchange.bytes_sent,
                exchange.error,
            )
        )

    def _unknown(self, path: str, method: str) -> LisaError:
        for other in ("GET", "POST", "DELETE"):
            if other != method and rule_for("gateway", other, path) is not None:
                return LisaError(f"{path} takes {other}.", code="method_not_allowed", status=405)
        return LisaError(f"There is no route {method[:16]} {path[:200]}.", code="unknown_url", status=404)

    def _visible(self, model: str, principal: Principal) -> LiveRoute:
        """The model's route; what the caller may not use does not exist."""
        live = self._catalogue.routes.get(model)
        if live is None or not principal.may_use(live.allowed):
            raise no_model(model) if self._catalogue.loaded else starting()
        return live

    async def _infer(self, exchange: Exchange, endpoint: Endpoint, principal: Principal) -> None:
        repair: Repair | None = None
        guard: Guard | None = None
        searched: Searched | None = None
        if endpoint.multipart:
            form = multipart.parse(exchange.headers.get(b"content-type", b""), exchange.body)
            for name in form.names():
                if forbidden(name):
                    raise not_allowed(name)
            live = self._usable(exchange, endpoint, form.model(), principal)
            await self._admit(exchange, principal)
            if live.guardrails:
                guard = self._guards.guard(live.guardrails, exchange, endpoint, principal)
                if guard is not None and not await guard.admits_form(form):
                    return
            kind, body, drop_usage = form.content_type, form.encode(), False
        else:
            document = parse_object(exchange.body)
            live = self._usable(exchange, endpoint, model_of(document), principal)
            check_fields(document, endpoint)
            await self._admit(exchange, principal)
            if "tools" in document:
                searched = await self._search(exchange, document, endpoint, live)
            if live.guardrails:
                guard = self._guards.guard(live.guardrails, exchange, endpoint, principal)
                if guard is not None and not await guard.admits(document):
                    return
            drop_usage = _ask_for_usage(document) if endpoint.asks_usage else False
            kind, body = b"application/json", orjson.dumps(document)
            if _speaks_llamacpp(live):
                repair = repair_for(
                    endpoint.name,
                    document,
                    request_id=exchange.request_id.decode(),
                    created=int(time.time()),
                )
        address, head = self._way(exchange, endpoint, live)
        request = b"%bcontent-type: %b\r\nx-request-id: %b\r\ncontent-length: %d\r\n\r\n%b" % (
            head,
            kind,
            exchange.request_id,
            len(body),
            body,
        )
        repair = repair if searched is None else searched.citing(repair)
        call = Call(exchange, endpoint, live, address, request, drop_usage, repair)
        if guard is None or not guard.holds:
            await self._forwarder.forward(call)
        else:
            await self._forward_held(call, guard)

    async def _admit(self, exchange: Exchange, principal: Principal) -> None:
        """Counts the request against its limits, or refuses it; waits only when that cannot be told here and now."""
        if self._limits is not None:
            waiting = self._limits.admit(exchange, principal, exchange.model)
            if waiting is not None:
                await self._limits.wait(exchange, principal, exchange.model, waiting)

    async def _search(
        self, exchange: Exchange, document: dict[str, Any], endpoint: Endpoint, live: LiveRoute
    ) -> Searched | None:
        """Does what a `file_search` among the tools asks for; None when there is none."""
        if exchange.principal is None or not wants_search(document, endpoint):
            return None
        window = live.route.context_window
        searched = await self._file_search.apply(document, endpoint, exchange.principal, window)
        exchange.body = orjson.dumps(document)  # what is reckoned with when the caller leaves early
        return searched

    def _way(self, exchange: Exchange, endpoint: Endpoint, live: LiveRoute) -> tuple[Address, bytes]:
        """Where the request goes, and the start of its head."""
        head = live.heads.get(endpoint.name)
        if head is not None:
            return live.address, head
        address, head = self._litellm.way(live, endpoint)
        for header in (b"anthropic-version", b"anthropic-beta"):
            if endpoint.dialect is Dialect.ANTHROPIC and header in exchange.headers:
                head += b"%b: %b\r\n" % (header, exchange.headers[header])
        return address, head

    async def _forward_held(self, call: Call, guard: Guard) -> None:
        """Keeps the whole answer back until the guardrails have judged it."""
        exchange = call.exchange
        call.exchange = held = Held(exchange)
        try:
            await self._forwarder.forward(call)
        finally:
            held.settle(exchange)
        await guard.release(held)

    def _usable(self, exchange: Exchange, endpoint: Endpoint, model: str, principal: Principal) -> LiveRoute:
        live = self._visible(model, principal)
        exchange.model = model
        route = live.route
        if route.mode not in endpoint.modes:
            raise refuse(
                f"`{model}` is a model for {route.mode}, not for {endpoint.says}.",
                "model",
                "wrong_kind_of_model",
            )
        if route.state != "active":
            state = "starting" if route.state == "starting" else "stopped"
            raise unavailable(f"`{model}` is {state}; try again later.", STARTING_RETRY_SECONDS)
        return live


# What load balancers ask every few seconds is not worth a line.
_QUIET = frozenset({"/health", "/health/liveliness", "/health/readiness", "/metrics"})


def _speaks_llamacpp(live: LiveRoute) -> bool:
    target = live.route.target
    return isinstance(target, HostedTarget) and target.engine == "llamacpp"


def _ask_for_usage(document: dict[str, Any]) -> bool:
    """Makes the engine tell the usage of a stream; whether the event must be taken out again."""
    if document.get("stream") is not True:
        return False
    options = document.get("stream_options")
    if options and options.get("include_usage") is True:
        return False
    document["stream_options"] = {**(options or {}), "include_usage": True}
    return True
