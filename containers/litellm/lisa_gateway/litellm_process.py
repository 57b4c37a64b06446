"""Keeps LiteLLM running in a process of its own, and its model list in step with the catalogue.

Why its own process, and when it starts: docs/decisions/0002-litellm-in-its-own-process.md.
"""

import asyncio
import contextlib
import json
import logging
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import orjson
from lisa.errors import LisaError
from lisa.models.provider_url import check_provider_url
from lisa.models.routes import HostedTarget, ProviderTarget

from lisa_gateway.catalogue import LiveRoute
from lisa_gateway.endpoints import Endpoint
from lisa_gateway.http.client import Address, Pool, UpstreamError
from lisa_gateway.upstream_errors import unavailable

log = logging.getLogger(__name__)

COMMAND = (sys.executable, "-m", "lisa_gateway.litellm_app")
START_SECONDS = 90.0
PROBE_SECONDS = 0.2
MAX_BACKOFF_SECONDS = 30.0
RETRY_KEY_SECONDS = 10.0

ReadSecret = Callable[[str], str]


class LiteLLM:
    """The process, started when the first model needs it or soon after the gateway, restarted when it dies."""

    def __init__(
        self,
        pool: Pool,
        *,
        read_secret: ReadSecret,
        allowed_hosts: tuple[str, ...] = (),
        command: tuple[str, ...] = COMMAND,
    ) -> None:
        self._pool = pool
        self._read_secret = read_secret
        self._allowed_hosts = allowed_hosts
        self._command = command
        self._key = "sk-" + secrets.token_hex(32)
        self._folder = tempfile.mkdtemp(prefix="lisa-litellm-")  # mode 700
        self._address = Address(path=str(Path(self._folder, "s")))
        self._wanted: dict[str, LiveRoute] = {}
        self._registered: dict[str, LiveRoute] = {}
        self._provider_keys: dict[str, str] = {}
        self._changed = asyncio.Event()
        self._in_step = True
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None

    def way(self, live: LiveRoute, endpoint: Endpoint) -> tuple[Address, bytes]:
        """Where a request for this model goes, and how it begins; raises a 503 until LiteLLM knows it."""
        if live.route.model_id not in self._registered:
            if isinstance(live.route.target, HostedTarget) and not live.needs_litellm:
                raise LisaError(
                    f"`{live.route.model_id}` does not offer {endpoint.path}.",
                    code="unsupported_route",
                    status=400,
                    field="model",
                )
            raise unavailable(f"`{live.route.model_id}` is being connected; try again.", 5)
        head = f"POST {endpoint.path} HTTP/1.1\r\nhost: litellm\r\nauthorization: Bearer {self._key}\r\n"
        return self._address, head.encode()

    @property
    def in_step(self) -> bool:
        """Whether LiteLLM has been told of every model that was last applied."""
        return self._in_step

    def apply(self, routes: Iterable[LiveRoute]) -> None:
        """From now on LiteLLM's list of models is to be equal to these; it soon is."""
        self._wanted = {
            live.route.model_id: live
            for live in routes
            if live.needs_litellm and live.route.state == "active"
        }
        for model in set(self._registered) - set(self._wanted):
            del self._registered[model]
        if self._keeper is None and not self._wanted:
            return
        self.prepare()
        # What is only taken away is in force at once; what LiteLLM has to learn is once it knows it.
        if any(
            name not in self._registered or self._registered[name].route != live.route
            for name, live in self._wanted.items()
        ):
            self._in_step = False
        self._changed.set()

    def prepare(self) -> None:
        """Starts the process, if it was not; the first external model then need not wait for it."""
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        """Starts the process, keeps its list in step while it lives, and starts it again when it has died."""
        backoff = 1.0
        while True:
            started = time.monotonic()
            try:
                await self._run()
            except asyncio.CancelledError:
                raise
            except Exception:
                log.exception("LiteLLM could not be kept running")
            self._registered.clear()
            self._in_step = not self._wanted
            self._changed.set()
            backoff = 1.0 if time.monotonic() - started > 60 else min(backoff * 2, MAX_BACKOFF_SECONDS)
            await asyncio.sleep(backoff)

    async def _run(self) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LISA_")}
        process = self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=environment,
        )
        started = time.monotonic()
        reader = asyncio.create_task(self._relay(process))
        keeper = asyncio.create_task(self._keep_in_step(process, started))
        try:
            assert process.stdin is not None  # noqa: S101 - it was asked for above
            start = {"socket": self._address.path, "key": self._key}
            process.stdin.write(json.dumps(start).encode() + b"\n")
            await process.stdin.drain()
            code = await process.wait()
            log.warning("LiteLLM ended", extra={"exitCode": code})
        finally:
            keeper.cancel()
            await self._stop(process)
            await reader
            self._process = None

    async def _stop(self, process: asyncio.subprocess.Process) -> None:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()  # it holds no state
            await process.wait()

    async def _relay(self, process: asyncio.subprocess.Process) -> None:
        """LiteLLM's own lines become ours, without any key that may have got into them."""
        assert process.stdout is not None  # noqa: S101
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:  # longer than the reader's limit: the rest follows as a line of its own
                continue
            if not line:
                return
            text = line.decode("utf-8", "replace").rstrip()
            if text:
                log.info(self._redact(text)[:2000], extra={"component": "litellm"})

    def _redact(self, text: str) -> str:
        for key in (self._key, *self._provider_keys.values()):
            if key:
                text = text.replace(key, "***")
        return text

    async def _keep_in_step(self, process: asyncio.subprocess.Process, started: float) -> None:
        await self._listening(process)
        log.info("LiteLLM is ready", extra={"seconds": round(time.monotonic() - started, 1)})
        self._changed.set()
        while True:
            await self._changed.wait()
            self._changed.clear()
            wanted = dict(self._wanted)
            complete = await self._send(wanted)
            if not self._changed.is_set():
                self._in_step = True
            if not complete:
                # A key that cannot be read, or a model that LiteLLM refuses: the others are served meanwhile.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(RETRY_KEY_SECONDS):
                        await self._changed.wait()
                self._changed.set()

    async def _listening(self, process: asyncio.subprocess.Process) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and process.returncode is None:
            with contextlib.suppress(UpstreamError):
                connection = await self._pool.connect(self._address)
                connection.abort()
                return
            await asyncio.sleep(PROBE_SECONDS)
        await self._stop(process)
        raise TimeoutError("LiteLLM did not start")

    async def _send(self, wanted: dict[str, LiveRoute]) -> bool:
        """Hands the list over; whether every model of it is registered now."""
        models: list[dict[str, Any]] = []
        for model_id, live in wanted.items():
            params = await self._params(live)
            if params is not None:
                models.append({"id": model_id, "mode": live.route.mode, "params": params})
        body = orjson.dumps(models)
        head = f"PUT /_lisa/models HTTP/1.1\r\nhost: litellm\r\nauthorization: Bearer {self._key}\r\n"
        request = b"%bcontent-length: %d\r\n\r\n%b" % (head.encode(), len(body), body)
        connection = None
        try:
            connection = await self._pool.connect(self._address)
            await connection.call(request)
            answer = orjson.loads(await connection.read())
            if connection.status != 200:
                log.warning("LiteLLM's model list was refused", extra={"status": connection.status})
                return False
        except (UpstreamError, orjson.JSONDecodeError) as error:
            log.warning("LiteLLM's model list could not be set", extra={"reason": str(error)})
            return False
        finally:
            if connection is not None:
                connection.abort()
        failed = answer.get("failed", {})
        for model_id, reason in failed.items():
            log.error("LiteLLM does not accept a model", extra={"model": model_id, "reason": reason})
        for model in models:
            model_id = model["id"]
            if model_id not in failed and self._wanted.get(model_id) is wanted[model_id]:
                self._registered[model_id] = wanted[model_id]
        return len(models) == len(wanted) and not failed

    async def _params(self, live: LiveRoute) -> dict[str, Any] | None:
        """LiteLLM's parameters for a model; None when it cannot be served now."""
        target = live.route.target
        if not isinstance(target, ProviderTarget):
            # A hosted model on a route that its engine does not speak.
            hosted: dict[str, Any] = {
                "model": f"openai/{live.route.model_id}",
                "api_base": target.base_url.rstrip("/") + "/v1",
                "api_key": "none",
                "extra_headers": {"Host": target.host_header},
                "use_chat_completions_api": True,
            }
            return hosted
        params: dict[str, Any] = {"model": target.model}
        if target.api_base:
            try:
                check_provider_url(target.api_base, self._allowed_hosts)
            except LisaError as refused:
                log.error(refused.message, extra={"model": live.route.model_id})
                return None
            # A server without keys of its own still needs some word where LiteLLM expects a key.
            params |= {"api_base": target.api_base, "api_key": "none"}
        if target.secret_arn:
            try:
                key = await asyncio.to_thread(self._read_secret, target.secret_arn)
            except Exception as error:  # boto3's many: the next attempt may succeed
                log.error(
                    "a provider's key cannot be read",
                    extra={"model": live.route.model_id, "reason": type(error).__name__},
                )
                return None
            self._provider_keys[live.route.model_id] = key
            params["api_key"] = key
        return params

    async def close(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        shutil.rmtree(self._folder, ignore_errors=True)
