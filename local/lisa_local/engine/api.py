"""The subset of Docker's Engine API (1.43) that the emulator calls, and two routes of our own."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from lisa_local.component import ComponentError
from lisa_local.engine import logs
from lisa_local.engine.container import StartError
from lisa_local.engine.store import Store, StoreError

logger = logging.getLogger("lisa.engine.api")

API_VERSION = "1.43"

_STORE = web.AppKey("store", Store)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def start(store: Store, socket: Path) -> web.AppRunner:
    """Serve the API on a Unix socket.

    Raises:
        ComponentError: the socket cannot be opened.
    """
    runner = web.AppRunner(application(store), access_log=None, shutdown_timeout=1)
    await runner.setup()
    socket.unlink(missing_ok=True)  # noqa: ASYNC240 - left by an engine that was killed
    try:
        await web.UnixSite(runner, str(socket)).start()
    except OSError as error:
        raise ComponentError(f"the socket {socket} cannot be opened: {error.strerror or error}.") from None
    return runner


def application(store: Store) -> web.Application:
    app = web.Application(middlewares=[_errors], client_max_size=16 * 1024 * 1024)
    app[_STORE] = store
    for prefix in ("", r"/v{version:\d+\.\d+}"):
        app.add_routes(
            [
                web.get(prefix + "/_ping", _ping),
                web.get(prefix + "/version", _version),
                web.get(prefix + "/info", _info),
                web.post(prefix + "/images/create", _pull),
                web.get(prefix + r"/distribution/{image:.+}/json", _distribution),
                web.get(prefix + r"/images/{image:.+}/json", _inspect_image),
                web.post(prefix + r"/images/{image:.+}/tag", _tag),
                web.get(prefix + "/containers/json", _list),
                web.post(prefix + "/containers/create", _create),
                web.get(prefix + "/containers/{id}/json", _inspect),
                web.post(prefix + "/containers/{id}/start", _start),
                web.post(prefix + "/containers/{id}/stop", _stop),
                web.post(prefix + "/containers/{id}/kill", _kill),
                web.post(prefix + "/containers/{id}/wait", _wait),
                web.get(prefix + "/containers/{id}/logs", _logs),
                web.delete(prefix + "/containers/{id}", _remove),
            ]
        )
    app.add_routes([web.get("/_lisa/containers", _overview), web.post("/_lisa/clear", _clear)])
    return app


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except (StoreError, web.HTTPException, StartError) as error:
        status = getattr(error, "status", 500)
        message = error.reason if isinstance(error, web.HTTPException) else str(error)
        if status >= 500 or isinstance(error, web.HTTPException):
            logger.warning("%s %s: %d %s", request.method, request.path, status, message)
        return web.json_response({"message": message}, status=status)


def _store(request: web.Request) -> Store:
    return request.app[_STORE]


def _digest(image: str) -> str:
    return "sha256:" + hashlib.sha256(image.partition("@")[0].encode()).hexdigest()


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.read() or b"{}")
    except ValueError:
        raise StoreError(400, "The body is not JSON.") from None
    if not isinstance(body, dict):
        raise StoreError(400, "The body is not a JSON object.")
    return body


async def _ping(_: web.Request) -> web.Response:
    return web.Response(text="OK", headers={"Api-Version": API_VERSION, "Docker-Experimental": "false"})


async def _version(_: web.Request) -> web.Response:
    return web.json_response(
        {
            "Version": "24.0.0",
            "ApiVersion": API_VERSION,
            "MinAPIVersion": "1.24",
            "Os": "linux",
            "Arch": "amd64",
        }
    )


async def _info(request: web.Request) -> web.Response:
    containers = list(_store(request))
    running = sum(each.running for each in containers)
    return web.json_response(
        {
            "OSType": "linux",
            "ServerVersion": "24.0.0",
            "Containers": len(containers),
            "ContainersRunning": running,
        }
    )


async def _pull(request: web.Request) -> web.Response:
    name, tag = request.query.get("fromImage", ""), request.query.get("tag", "")
    image = name if not tag else f"{name}@{tag}" if tag.startswith("sha256:") else f"{name}:{tag}"
    _store(request).image(image)
    return web.json_response({"status": f"Image is up to date for {image}"})


async def _distribution(request: web.Request) -> web.Response:
    image = request.match_info["image"]
    _store(request).image(image)
    media_type = "application/vnd.docker.distribution.manifest.v2+json"
    return web.json_response(
        {"Descriptor": {"mediaType": media_type, "digest": _digest(image), "size": 1}, "Platforms": []}
    )


async def _inspect_image(request: web.Request) -> web.Response:
    image = request.match_info["image"]
    _store(request).image(image)
    return web.json_response({"Id": _digest(image), "RepoTags": [image], "Config": {}, "Os": "linux"})


async def _tag(request: web.Request) -> web.Response:
    image = request.match_info["image"]
    if not image.startswith("sha256:"):  # an identifier that a pull just answered
        _store(request).image(image)
    return web.Response(status=201)


async def _list(request: web.Request) -> web.Response:
    everything = request.query.get("all", "").lower() in ("1", "true")
    try:
        filters = json.loads(request.query.get("filters") or "{}")
        wanted = [str(label) for label in filters.get("label", [])]  # a list, or an object of name -> true
    except (ValueError, AttributeError, TypeError):
        raise StoreError(400, "The filters are not what Docker's API defines.") from None
    return web.json_response(
        [
            container.summary()
            for container in _store(request)
            if (everything or container.running) and all(_has(container.labels, label) for label in wanted)
        ]
    )


def _has(labels: Any, wanted: str) -> bool:
    name, equals, value = wanted.partition("=")
    return name in labels and (not equals or labels[name] == value)


async def _create(request: web.Request) -> web.Response:
    container = _store(request).create(request.query.get("name"), await _body(request))
    return web.json_response({"Id": container.id, "Warnings": []}, status=201)


async def _inspect(request: web.Request) -> web.Response:
    return web.json_response(_store(request).find(request.match_info["id"]).inspect())


async def _start(request: web.Request) -> web.Response:
    container = _store(request).find(request.match_info["id"])
    if container.running:
        return web.Response(status=304)
    container.launch()
    await container.wait_ready()
    return web.Response(status=204)


async def _stop(request: web.Request) -> web.Response:
    store = _store(request)
    container = store.find(request.match_info["id"])
    if not container.running:
        return web.Response(status=304)
    asked = _number(request.query.get("t"), 10)
    await asyncio.shield(container.stop(store.stop_seconds(container, asked)))
    return web.Response(status=204)


async def _kill(request: web.Request) -> web.Response:
    container = _store(request).find(request.match_info["id"])
    if not container.running:
        raise StoreError(409, f"Container {container.name} is not running.")
    await container.kill(_signal(request.query.get("signal", "SIGKILL")))
    return web.Response(status=204)


def _number(text: str | None, default: float) -> float:
    try:
        return float(text) if text else default
    except ValueError:
        raise StoreError(400, f"{text} is no number.") from None


def _signal(name: str) -> int:
    if name.isdigit():
        return int(name)
    try:
        return signal.Signals["SIG" + name.upper().removeprefix("SIG")]
    except KeyError:
        raise StoreError(400, f"Invalid signal: {name}") from None


async def _wait(request: web.Request) -> web.StreamResponse:
    container = _store(request).find(request.match_info["id"])
    if container.process is not None:
        await container.exited.wait()
    return web.json_response({"StatusCode": container.exit_code or 0})


async def _logs(request: web.Request) -> web.StreamResponse:
    container = _store(request).find(request.match_info["id"])
    tail = request.query.get("tail", "all")
    follow = request.query.get("follow", "").lower() in ("1", "true")
    response = web.StreamResponse(headers={"Content-Type": "application/vnd.docker.raw-stream"})
    await response.prepare(request)
    try:
        async for data in logs.stream(
            container, follow=follow, tail=None if tail == "all" else int(_number(tail, 0))
        ):
            await response.write(data)
    except ConnectionResetError:
        pass  # the reader has gone
    return response


async def _remove(request: web.Request) -> web.Response:
    store = _store(request)
    container = store.find(request.match_info["id"])
    if container.running and request.query.get("force", "").lower() not in ("1", "true"):
        raise StoreError(409, f"Container {container.name} is running: stop it before removing it.")
    await asyncio.shield(store.remove(container))
    return web.Response(status=204)


async def _overview(request: web.Request) -> web.Response:
    return web.json_response(
        [
            {
                "id": container.id[:12],
                "name": container.name,
                "image": container.image_name,
                "status": container.status,
                "pid": container.process.pid if container.process and container.running else None,
                "address": container.address,
                "exit_code": container.exit_code,
                "started": container.started,
                "log": str(container.log),
                "task": container.labels.get("com.amazonaws.ecs.task-arn"),
                "family": container.labels.get("com.amazonaws.ecs.task-definition-family"),
            }
            for container in _store(request)
        ]
    )


async def _clear(request: web.Request) -> web.Response:
    return web.json_response({"removed": await asyncio.shield(_store(request).clear())})
