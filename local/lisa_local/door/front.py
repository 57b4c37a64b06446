"""The front door: one origin for the gateway, the management API, the sign-in pages and the start page."""

from __future__ import annotations

import asyncio
import logging
import re

from aiohttp import hdrs, web
from multidict import CIMultiDict

from lisa_local.component import Settings
from lisa_local.door import answers, pages, rules
from lisa_local.door.catalogue import Catalogue
from lisa_local.door.deployment import Deployment, DeploymentFile
from lisa_local.door.listeners import describe
from lisa_local.door.proxy import (
    BadGatewayError,
    NoTargetError,
    Proxy,
    SlowGatewayError,
    forwarded_headers,
    raw_target,
)
from lisa_local.door.routes import Place, place_of
from lisa_local.door.targets import TargetGroup

logger = logging.getLogger("lisa.door")

RETRY_SECONDS = 2
"""What callers are told to wait while something starts."""

_HOST = re.compile(r"[0-9A-Za-z.\-]+(?::\d{1,5})?|\[[0-9A-Fa-f:]+\](?::\d{1,5})?")

_CORS = re.compile(r"access-control-.*", re.IGNORECASE)


class Front:
    def __init__(
        self, settings: Settings, deployment: DeploymentFile, catalogue: Catalogue, proxy: Proxy
    ) -> None:
        self._settings = settings
        self._deployment = deployment
        self._catalogue = catalogue
        self._proxy = proxy

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        target = raw_target(request)
        prefix = self._settings.prefix
        if prefix:
            path = target.partition("?")[0]
            if path == prefix:
                return web.Response(status=308, headers={hdrs.LOCATION: prefix + "/"})
            if not path.startswith(prefix + "/"):
                return pages.not_found(prefix)
            target = target[len(prefix) :]
        try:
            return await self._handle(request, target)
        except (asyncio.CancelledError, ConnectionResetError):
            raise  # the caller has left
        except Exception:
            logger.exception("%s %s", request.method, target.partition("?")[0])
            return answers.api_error(500, "internal_error", "The front door failed; its log says why.")

    async def _handle(self, request: web.BaseRequest, target: str) -> web.StreamResponse:
        path = target.partition("?")[0]
        match place_of(path):
            case Place.GATEWAY:
                return await self._gateway(request, target, path)
            case Place.API:
                return await self._api(request, target)
            case Place.SIGN_IN:
                return await self._sign_in(request, target)
            case Place.UNKNOWN_GATEWAY:
                return answers.gateway_error(path, 404, "not_found", f"There is no {request.method} {path}.")
            case Place.UNKNOWN_API:
                return answers.api_error(404, "not_found", f"There is no {request.method} {path}.")
            case Place.START:
                return self._start(request)
        return pages.not_found(self._settings.prefix)

    def _start(self, request: web.BaseRequest) -> web.Response:
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, headers={hdrs.ALLOW: "GET, HEAD"})
        deployed = self._deployment.current() is not None
        return pages.quick_start(self._own_url(request), self._settings.prefix, deployed=deployed)

    def _own_url(self, request: web.BaseRequest) -> str:
        host = request.headers.get(hdrs.HOST, "")
        if not _HOST.fullmatch(host):
            host = f"localhost:{self._settings.door_port}"
        return f"http://{host}{self._settings.prefix}"

    async def _gateway(self, request: web.BaseRequest, target: str, path: str) -> web.StreamResponse:
        headers = self._headers(request)
        try:
            return await self._proxy.to_group(request, self._gateway_group(request, target), target, headers)
        except NoTargetError:
            message = "The gateway is not running yet: try again in a moment."
            return answers.gateway_error(path, 503, "service_unavailable", message, RETRY_SECONDS)
        except BadGatewayError:
            message = "The gateway went away before it answered: try again in a moment."
            return answers.gateway_error(path, 503, "service_unavailable", message, RETRY_SECONDS)
        except SlowGatewayError:
            return answers.gateway_error(path, 504, "timeout", "The gateway did not answer in time.")

    def _gateway_group(self, request: web.BaseRequest, target: str) -> TargetGroup | None:
        """Where the gateway's listener would send this request; asked in place, to save a hop."""
        deployment = self._deployment.current()
        if deployment is None:
            return None
        listener = self._catalogue.listeners.get((deployment.load_balancer, deployment.gateway_port))
        if listener is None:
            return None
        action = listener.action(describe(request, target))
        return self._catalogue.group(action.choose()) if isinstance(action, rules.Forward) else None

    async def _api(self, request: web.BaseRequest, target: str) -> web.StreamResponse:
        deployment = self._deployment.current()
        if deployment is None:
            message = "The management API is not deployed yet: try again in a moment."
            return answers.api_error(503, "service_unavailable", message, RETRY_SECONDS)
        headers = self._headers(request)
        # Without Accept, API Gateway's emulation answers in base64.
        headers.setdefault(hdrs.ACCEPT, "*/*")
        try:
            return await self._proxy.to_origin(request, self._api_url(deployment, target), headers)
        except BadGatewayError:
            message = "The management API is not running: try again in a moment."
            return answers.api_error(503, "service_unavailable", message, RETRY_SECONDS)
        except SlowGatewayError:
            return answers.api_error(504, "timeout", "The management API did not answer in time.")

    def _api_url(self, deployment: Deployment, target: str) -> str:
        path, question, query = target.partition("?")
        path = path.removesuffix("/") or path
        base = f"{self._settings.emulator_url}/_aws/execute-api/{deployment.api_id}/{deployment.api_stage}"
        return f"{base}{path}{question}{query}"

    async def _sign_in(self, request: web.BaseRequest, target: str) -> web.StreamResponse:
        prefix = self._settings.prefix
        deployment = self._deployment.current()
        pool = target.split("/")[1] if "/.well-known/" in target.partition("?")[0] else None
        if pool is not None and (deployment is None or pool != deployment.user_pool_id):
            return pages.not_found(prefix)
        if request.method == "GET" and target.partition("?")[0] == "/login":
            # Cognito shows the same page at both addresses; the emulator at one of them.
            target = "/oauth2/authorize" + target.removeprefix("/login")

        def adapt(headers: CIMultiDict[str], body: bytes) -> bytes:
            # One origin: browsers need no permission for another.
            for name in [name for name in headers if _CORS.fullmatch(name)]:
                headers.popall(name, None)
            if not prefix:
                return body
            # Cognito knows nothing of the path before it.
            location = headers.get(hdrs.LOCATION, "")
            if location.startswith("/") and not location.startswith("//"):
                headers[hdrs.LOCATION] = prefix + location
            origin = f"http://{request.headers.get(hdrs.HOST, '')}"
            for before in ('action="', 'href="', origin):
                body = body.replace(f"{before}/".encode(), f"{before}{prefix}/".encode())
            return body

        try:
            url = self._settings.emulator_url + target
            return await self._proxy.to_origin(request, url, self._headers(request), adapt)
        except (BadGatewayError, SlowGatewayError):
            message = "Sign-in is not running: try again in a moment."
            return answers.api_error(503, "service_unavailable", message, RETRY_SECONDS)

    def _headers(self, request: web.BaseRequest) -> CIMultiDict[str]:
        headers = forwarded_headers(request, trust_caller=False)
        headers["X-Forwarded-Port"] = str(self._settings.door_port)
        if self._settings.prefix:
            headers["X-Forwarded-Prefix"] = self._settings.prefix
        return headers
