"""Puts the gateway's parts together, starts and stops them."""

import asyncio
import contextlib
import gc
from collections.abc import Callable

from lisa.audit.publisher import AuditPublisher
from lisa.identity import TokenVerifier
from lisa.models.routes import Route

from lisa_gateway.access_log import AccessLog
from lisa_gateway.audit import Audit
from lisa_gateway.callers import Callers
from lisa_gateway.catalogue import POLL_SECONDS, Catalogue, Store, Watcher
from lisa_gateway.forwarding import Forwarder
from lisa_gateway.gateway import PREFIXES, Gateway
from lisa_gateway.guardrails import Guards
from lisa_gateway.http.client import Pool
from lisa_gateway.http.server import Server
from lisa_gateway.limits import Limits
from lisa_gateway.litellm_process import COMMAND as LITELLM_COMMAND
from lisa_gateway.litellm_process import LiteLLM, ReadSecret
from lisa_gateway.metrics import Metrics
from lisa_gateway.retrieval.file_search import FileSearch
from lisa_gateway.retrieval.functions import Functions, Invoker
from lisa_gateway.retrieval.objects import Bucket, Objects
from lisa_gateway.retrieval.routes import Retrieval
from lisa_gateway.retrieval.searching import Searcher
from lisa_gateway.retrieval.service_key import ServiceKey
from lisa_gateway.settings import Settings
from lisa_gateway.usage import Queue, UsageRecorder

FORM_BYTES = 64 * 1024  # what a form may hold beside its file
PREPARE_SECONDS = 20.0  # what starts with the gateway gets the processors first


class Application:
    """One gateway. Must be made and used inside one event loop."""

    def __init__(  # noqa: PLR0913 - the outside world, part by part, so that tests can give their own
        self,
        settings: Settings,
        *,
        verifier: TokenVerifier,
        open_store: Callable[[], Store],
        read_secret: ReadSecret,
        open_usage_queue: Callable[[], Queue],
        open_audit: Callable[[], AuditPublisher],
        open_invoker: Callable[[], Invoker],
        open_bucket: Callable[[], Bucket],
        access_log: AccessLog | None = None,
        guards: Guards | None = None,
        limits: Limits | None = None,
        poll_seconds: float = POLL_SECONDS,
        prepare_seconds: float = PREPARE_SECONDS,
        litellm_command: tuple[str, ...] = LITELLM_COMMAND,
    ) -> None:
        self._settings = settings
        self._api_tokens = verifier.api_tokens
        self._prepare_seconds = prepare_seconds
        self._preparing: asyncio.TimerHandle | None = None
        self._pool = Pool()
        self._access_log = access_log or AccessLog()
        self.usage = UsageRecorder(open_usage_queue)
        self._guards = guards or Guards()
        self.limits = limits
        self._audit = Audit(open_audit)
        self.catalogue = Catalogue()
        self.metrics = Metrics()
        self.litellm = LiteLLM(
            self._pool,
            read_secret=read_secret,
            allowed_hosts=settings.allowed_provider_hosts,
            command=litellm_command,
        )
        secret = settings.service_key_secret
        self._service_key = ServiceKey(
            (lambda: read_secret(secret)) if secret else None,
            frozenset(prefix + path for prefix in PREFIXES for path in ("/embeddings", "/rerank")),
        )
        self._functions = Functions(
            open_invoker, vector_stores=settings.vector_stores_function, search=settings.search_function
        )
        self._objects = Objects(open_bucket)
        searcher = Searcher(self._functions)
        self.gateway = Gateway(
            callers=Callers(verifier, self._service_key, self._audit),
            catalogue=self.catalogue,
            forwarder=Forwarder(self._pool, self.metrics),
            litellm=self.litellm,
            metrics=self.metrics,
            access_log=self._access_log,
            usage=self.usage,
            guards=self._guards,
            limits=limits,
            retrieval=Retrieval(
                self._functions, self._objects, searcher, self._audit, max_file_bytes=settings.max_file_bytes
            ),
            file_search=FileSearch(searcher),
            base_path=settings.base_path,
        )
        self.server = Server(
            self.gateway.handle,
            self.gateway.refuse,
            max_body_bytes=settings.max_body_bytes,
            upload_paths=frozenset(
                f"{base}{prefix}/files".encode() for base in {"", settings.base_path} for prefix in PREFIXES
            ),
            max_upload_bytes=settings.max_file_bytes + FORM_BYTES,
        )
        self.metrics.gauges = {
            "lisa_gateway_catalogue_version": ("Version in use.", lambda: float(self.catalogue.version)),
            "lisa_gateway_models": ("Routes in use.", lambda: float(len(self.catalogue.routes))),
            "lisa_gateway_connections": ("Client connections.", lambda: float(len(self.server.connections))),
            "lisa_gateway_usage_waiting": ("Usage not handed over.", lambda: float(self.usage.waiting)),
            "lisa_gateway_usage_lost": ("Requests whose usage is lost.", lambda: float(self.usage.lost)),
        }
        self._watcher = Watcher(
            open_store,
            settings.instance_id,
            self._publish,
            lambda: self.litellm.in_step,
            asyncio.get_running_loop(),
            poll_seconds=poll_seconds,
        )

    async def start(self) -> int:
        """Listens and starts to load the catalogue; the port in use."""
        self._access_log.start()
        self.usage.start()
        if self.limits is not None:
            self.limits.start()
        if self._api_tokens is not None:
            self._api_tokens.used.start()
        self._audit.start()
        self._service_key.start()
        port = await self.server.listen(self._settings.host, self._settings.port)
        self._watcher.start()
        self._preparing = asyncio.get_running_loop().call_later(self._prepare_seconds, self.litellm.prepare)
        # What is there now stays for ever: keep it out of every later collection.
        gc.collect()
        gc.freeze()
        return port

    def _publish(self, version: int, routes: list[Route]) -> None:
        self.catalogue.replace(version, routes)
        self.litellm.apply(self.catalogue.routes.values())

    async def stop(self, grace: float | None = None) -> None:
        if self._preparing is not None:
            self._preparing.cancel()
        await self._watcher.stop()
        await self.server.close(self._settings.drain_seconds if grace is None else grace)
        # Before what may take its time: if that is killed, nothing is lost.
        if self.limits is not None:
            await self.limits.close()
        await asyncio.to_thread(self.usage.close)
        await asyncio.to_thread(self._audit.close)
        with contextlib.suppress(asyncio.CancelledError):
            await self.litellm.close()
        self._pool.close()
        self._guards.close()
        self._functions.close()
        self._objects.close()
        self._access_log.close()
        if self._api_tokens is not None:
            self._api_tokens.used.close()
