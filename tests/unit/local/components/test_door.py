"""The front door and the balancer, between real servers that these tests control."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from lisa_local.component import Settings
from lisa_local.door.catalogue import Catalogue
from lisa_local.door.deployment import DeploymentFile
from lisa_local.door.front import Front
from lisa_local.door.health import HealthChecker
from lisa_local.door.listeners import Listeners, open_port
from lisa_local.door.proxy import Proxy

from .conftest import free_port

LB = "127.231.7.7"


class Backend:
    """A target: it says what it got, and does what the path asks for."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = free_port()
        self.healthy = True
        self.started = asyncio.Event()
        self.release = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.received = 0
        self._runner: web.ServerRunner | None = None

    async def start(self) -> None:
        self._runner = web.ServerRunner(
            web.Server(self.handle, handler_cancellation=True), shutdown_timeout=0.1
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if path == "/health":
            return web.Response(status=200 if self.healthy else 503)
        if path.endswith("/break"):
            request.transport.abort()
            await asyncio.sleep(60)
        if path.endswith("/hang"):
            self.started.set()
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
            return web.Response(text=self.name)
        if path.endswith("/stream"):
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            await response.write(b"first\n")
            self.started.set()
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
            await response.write(b"second\n")
            return response
        if path.endswith("/half"):
            response = web.StreamResponse(headers={"Content-Length": "100"})
            await response.prepare(request)
            await response.write(b"half")
            request.transport.abort()
            return response
        body = b""
        async for chunk in request.content.iter_any():
            body += chunk
            self.received = len(body)
            self.started.set()
        answer = {
            "name": self.name,
            "method": request.method,
            "path": request.raw_path if hasattr(request, "raw_path") else request.path_qs,
            "headers": dict(request.headers),
            "body": len(body),
        }
        headers = [
            ("X-Answer", "yes"),
            ("Set-Cookie", "a=1"),
            ("Set-Cookie", "b=2"),
            ("Connection", "X-Hop"),
            ("X-Hop", "1"),
        ]
        return web.Response(text=json.dumps(answer), headers=headers)


class Door:
    """A front door and a balancer whose catalogue the test writes."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.proxy = Proxy()
        self.catalogue = Catalogue(settings.emulator_socket, HealthChecker())
        self.listeners = Listeners(self.catalogue, self.proxy)
        self.front = Front(settings, DeploymentFile(settings.deployment), self.catalogue, self.proxy)
        self.lb_port = free_port()
        self.runner: web.ServerRunner | None = None

    @property
    def url(self) -> str:
        return f"http://localhost:{self.settings.door_port}{self.settings.prefix}"

    @property
    def lb(self) -> str:
        return f"http://{LB}:{self.lb_port}"

    async def start(self) -> None:
        self.runner = await open_port(self.front.handle, "127.0.0.1", self.settings.door_port)

    async def close(self) -> None:
        if self.runner is not None:
            await self.runner.cleanup()
        await self.listeners.close()
        await self.catalogue.close()
        await self.proxy.close()

    def deploy(self) -> None:
        outputs = {
            "ApiId": "api1",
            "ApiStage": "lisa",
            "UserPoolId": "us-east-1_x",
            "AlbDnsName": LB,
            "GatewayListenerPort": str(self.lb_port),
        }
        self.settings.deployment.write_text(json.dumps(outputs))

    async def targets(self, *backends: Backend, healthy: int | None = None) -> None:
        """Make these the targets, and wait until as many are healthy."""
        check = {"enabled": True, "path": "/health", "port": "traffic-port", "interval": 1, "timeout": 1,
                 "healthy": 2, "unhealthy": 2, "codes": "200"}  # fmt: skip
        self.catalogue.take(
            {
                "loadBalancers": [
                    {
                        "address": LB,
                        "listeners": [
                            {
                                "port": self.lb_port,
                                "defaultActions": [{"Type": "forward", "TargetGroupArn": "group"}],
                                "rules": [],
                            }
                        ],
                    }
                ],
                "targetGroups": {
                    "group": {
                        "healthCheck": check,
                        "targets": [{"id": "127.0.0.1", "port": backend.port} for backend in backends],
                    }
                },
            }
        )
        await self.listeners.follow()
        wanted = len(backends) if healthy is None else healthy

        def healthy_now() -> int:
            return sum(each.health == "healthy" for each in self.catalogue.groups["group"].targets.values())

        async def as_many() -> None:
            while healthy_now() != wanted:  # noqa: ASYNC110 - health has no event
                await asyncio.sleep(0.02)

        await asyncio.wait_for(as_many(), 5)


def scenario(test: Callable[..., Any], tmp_path: Path, *, prefix: str = "") -> None:
    """Run a test's coroutine with a door, two backends and a client."""

    async def run() -> None:
        settings = Settings(
            tmp_path, "test", "us-east-1", "000000000000", free_port(), free_port(), 1, 230, {}, prefix
        )
        door, one, two = Door(settings), Backend("one"), Backend("two")
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as client:
            try:
                for each in (one, two, door):
                    await each.start()
                await test(door, one, two, client)
            finally:
                one.release.set()
                two.release.set()
                await door.close()
                for each in (one, two):
                    await each.stop()

    asyncio.run(run())


def test_a_request_is_carried_whole(tmp_path: Path) -> None:
    async def test(door: Door, one: Backend, two: Backend, client: aiohttp.ClientSession) -> None:
        await door.targets(one)
        headers = {
            "Host": "short.models.internal",
            "Authorization": "Bearer t",
            "X-Forwarded-For": "9.9.9.9",
            "Connection": "X-Mine",
            "X-Mine": "1",
            "TE": "trailers",
        }
        async with client.post(f"{door.lb}/v1/a%2Fb?q=%20x", data=b"x" * 1000, headers=headers) as answer:
            got = await answer.json(content_type=None)
            assert answer.headers.getall("Set-Cookie") == ["a=1", "b=2"]
            assert answer.headers["X-Answer"] == "yes"
            assert "X-Hop" not in answer.headers
        assert (got["method"], got["path"], got["body"]) == ("POST", "/v1/a%2Fb?q=%20x", 1000)
        assert got["headers"]["Host"] == "short.models.internal"
        assert got["headers"]["Authorization"] == "Bearer t"
        assert got["headers"]["X-Forwarded-For"] == "9.9.9.9, 127.0.0.1"
        assert not {"X-Mine", "TE"} & set(got["headers"])

    scenario(test, tmp_path)


def test_the_front_door_believes_no_caller_about_who_it_is(tmp_path: Path) -> None:
    async def test(door: Door, one: Backend, two: Backend, client: aiohttp.ClientSession) -> None:
        door.deploy()
        await door.targets(one)
        forged = {"X-Forwarded-For": "9.9.9.9", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil",
                  "X-Forwarded-Prefix": "/evil", "X-Real-IP": "9.9.9.9", "Forwarded": "for=9.9.9.9"}  # fmt: skip
        async with client.get(f"{door.url}/v1/models", headers=forged) as answer:
            got = (await answer.json(content_type=None))["headers"]
        assert got["X-Forwarded-For"] == "127.0.0.1"
        assert got["X-Forwarded-Proto"] == "http"
        assert "9.9.9.9" not in str(got)
        assert "evil" not in str(got)

    scenario(test, tmp_path)


def test_a_stream_arrives_as_it_is_sent(tmp_path: Path) -> None:
    async def test(door: Door, one: Backend, two: Backend, client: aiohttp.ClientSession) -> None:
        await door.targets(one)
        async with client.get(f"{door.lb}/stream") as answer:
            assert await asyncio.wait_for(answer.content.readline(), 2) == b"first\n"
            one.release.set()
            assert await asyncio.wait_for(answer.content.readline(), 2) == b"second\n"

    scenario(test, tmp_path)


def test_a_large_body_is_passed_on_while_it_comes(tmp_path: Path) -> None:
    async def test(door: Door, one: Backend, two: Backend, client: aiohttp.ClientSession) -> None:
        await door.targets(one)
        more = asyncio.Event()

        async def body() -> AsyncIterator[bytes]:
            yield b"a" * 1000
            await more.wait()
            yield b"b" * 1_000_000

        call = asyncio.create_task(client.post(f"{door.lb}/upload", data=body()))
        await asyncio.wait_for(one.started.wait(), 5)
        assert one.received == 1000
        more.set()
        async with await call as answer:
            assert (await answer.json(content_type=None))["body"] == 1_001_000

    scenario(test, tmp_path)


@pytest.mark.parametrize("path", ["/hang", "/stream"])
@pytest.mark.parametrize("through", ["front", "balancer"])
def test_a_caller_that_leaves_ends_the_call_to_the_target(tmp_path: Path, path: str, through: str) -> None:
    async def test(door: Door, one: Backend, two: Backend, client: aiohttp.ClientSession) -> None:
        door.deploy()
        await door.targets(one)
        url = f"{door.url}/v1{path}" if through == "front" else door.lb + path
        call = asyncio.create_task(_read(client, url))
        await asyncio.wait_for(one.started.wait(), 5)
        call.cancel()
        await asyncio.wait_for(one.cancelled.wait(), 1)
        assert all(target.outstanding == 0 for target in door.catalogue.groups["group"].targets.values())

    scenario(test, tmp_path)


async def _read(client: aiohttp.ClientSession, url: str) -> bytes:
    async with client.get(url) as answer:
        return await answer.read()


def test_requests_go_on_when_a_target_dies(tmp_path: Path) -> None:
    async def test(door: Door, one: Backend, two: Backend, client: aiohttp.ClientSession) -> None:
        await door.targets(one, two)
        names = {(await _name(client, door.lb)) for _ in range(4)}
        assert names == {"one", "two"}
        await one.stop()  # nobody told the balancer
        assert [await _name(client, door.lb) for _ in range(6)] == ["two"] * 6
        await one.start()
        await door.targets(one, two)
        assert {(await _name(client, door.lb)) for _ in range(4)} == {"one", "two"}

    scenario(test, tmp_path)


async def _name(client: aiohttp.ClientSession, base: str) -> str:
    async with client.post(base + "/", data=b"{}") as answer:
        assert answer.status == 200, await answer.text()
        return (await answer.json(content_type=None))["name"]


def test_a_target_that_says_it_is_ill_gets_nothing(tmp_path: Path) -> None:
    async def test(door: Door, one: Backend, two: Backend, client: aiohttp.ClientSession) -> None:
        await door.targets(one, two)
        one.healthy = False
        await door.targets(one, two, healthy=1)
        assert {(await _name(client, door.lb)) for _ in range(4)} == {"two"}

    scenario(test, tmp_path)


def test_a_target_that_is_taken_away_finishes_what_it_began(tmp_path: Path) -> None:
    async def test(door: Door, one: Backend, two: Backend, client: aiohttp.ClientSession) -> None:
        await door.targets(one)
        call = asyncio.create_task(_read(client, door.lb + "/stream"))
        await asyncio.wait_for(one.started.wait(), 5)
        await door.targets(two)
        assert {(await _name(client, door.lb)) for _ in range(3)} == {"two"}
        one.release.set()
        assert await asyncio.wait_for(call, 5) == b"first\nsecond\n"

    scenario(test, tmp_path)


def test_a_connection_lost_before_the_answer_is_tried_once_more(tmp_path: Path) -> None:
    async def test(door: Door, one: Backend, two: Backend, client: aiohttp.ClientSession) -> None:
        await door.targets(one)
        async with client.post(door.lb + "/break", data=b"{}") as answer:
            assert answer.status == 502
        door.deploy()
        async with client.post(door.url + "/v1/break", data=b"{}") as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
            assert (await answer.json())["error"]["code"] == "service_unavailable"

    scenario(test, tmp_path)


def test_an_answer_that_breaks_off_does_not_look_whole(tmp_path: Path) -> None:
    async def test(door: Door, one: Backend, two: Backend, client: aiohttp.ClientSession) -> None:
        await door.targets(one)
        with pytest.raises(aiohttp.ClientError):
            await _read(client, door.lb + "/half")

    scenario(test, tmp_path)


def test_without_targets_the_balancer_says_503(tmp_path: Path) -> None:
    async def test(door: Door, one: Backend, two: Backend, client: aiohttp.ClientSession) -> None:
        await door.targets()
        async with client.get(door.lb) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "2")

    scenario(test, tmp_path)


def test_a_caller_that_waits_to_be_asked_is_asked(tmp_path: Path) -> None:
    async def test(door: Door, one: Backend, two: Backend, client: aiohttp.ClientSession) -> None:
        await door.targets(one)
        async with client.post(f"{door.lb}/x", data=b"y" * 500_000, expect100=True) as answer:
            assert (await answer.json(content_type=None))["body"] == 500_000

    scenario(test, tmp_path)


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/v1/models", {"error"}),
        ("/v2/serve/models", {"error"}),
        ("/v1/messages", {"type", "error", "request_id"}),
        ("/health", {"error"}),
        ("/api/models", {"message", "code", "requestId"}),
    ],
)
def test_before_anything_is_deployed_callers_are_told_to_wait(
    tmp_path: Path, path: str, shape: set[str]
) -> None:
    async def test(door: Door, one: Backend, two: Backend, client: aiohttp.ClientSession) -> None:
        async with client.get(door.url + path) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
            assert set(await answer.json()) == shape
            assert answer.headers["x-request-id"]

    scenario(test, tmp_path)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v2/other", "json"),
        ("/v1/..%2fmetrics", "json"),
        ("/api/%2e%2e/x", "json"),
        ("/metrics", "html"),
        ("/_ministack/reset", "html"),
        ("/nothing", "html"),
    ],
)
def test_what_is_not_there_is_404_in_the_right_shape(tmp_path: Path, path: str, kind: str) -> None:
    async def test(door: Door, one: Backend, two: Backend, client: aiohttp.ClientSession) -> None:
        door.deploy()
        await door.targets(one)
        from yarl import URL

        async with client.get(URL(door.url + path, encoded=True)) as answer:
            assert answer.status == 404
            assert kind in answer.content_type

    scenario(test, tmp_path)


def test_the_management_api_is_where_it_was_deployed(tmp_path: Path) -> None:
    async def test(door: Door, one: Backend, two: Backend, client: aiohttp.ClientSession) -> None:
        door.deploy()
        seen = []

        async def api(request: web.BaseRequest) -> web.Response:
            seen.append((request.message.path, request.headers.get("Accept")))
            return web.Response(text="{}", content_type="application/json")

        runner = await open_port(api, "127.0.0.1", door.settings.emulator_port)
        try:
            for path in ("/api/models/?a=b%20c", "/api/models/x%2Fy", "/api"):
                with socket.create_connection(("127.0.0.1", door.settings.door_port)) as raw:
                    raw.setblocking(False)
                    loop = asyncio.get_running_loop()
                    ask = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                    await loop.sock_sendall(raw, ask.encode())
                    assert (await loop.sock_recv(raw, 100)).startswith(b"HTTP/1.1 200")
        finally:
            await runner.cleanup()
        base = "/_aws/execute-api/api1/lisa/api"
        assert seen == [(f"{base}/models?a=b%20c", "*/*"), (f"{base}/models/x%2Fy", "*/*"), (base, "*/*")]

    scenario(test, tmp_path)


def test_the_start_page(tmp_path: Path) -> None:
    async def test(door: Door, one: Backend, two: Backend, client: aiohttp.ClientSession) -> None:
        async with client.get(door.url + "/", headers={"Host": '"><script>'}) as answer:
            assert "<script" not in await answer.text()
        async with client.get(door.url + "/") as answer:
            page = await answer.text()
            policy = answer.headers["Content-Security-Policy"]
        assert f"{door.url}/v1" in page
        assert "Deploying" in page
        assert '<html lang="en">' in page
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        door.deploy()
        async with client.get(door.url + "/") as answer:
            assert "Deploying" not in await answer.text()
        async with client.post(door.url + "/") as answer:
            assert answer.status == 405

    scenario(test, tmp_path)


def test_a_prefix_is_taken_off_before_the_gateway_and_nothing_is_outside_it(tmp_path: Path) -> None:
    async def test(door: Door, one: Backend, two: Backend, client: aiohttp.ClientSession) -> None:
        door.deploy()
        await door.targets(one)
        async with client.get(door.url + "/v1/models") as answer:
            got = await answer.json(content_type=None)
        assert got["path"] == "/v1/models"
        assert got["headers"]["X-Forwarded-Prefix"] == "/lisa"
        async with client.get(f"http://localhost:{door.settings.door_port}/v1/models") as answer:
            assert answer.status == 404
        async with client.get(door.url, allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (308, "/lisa/")

    scenario(test, tmp_path, prefix="/lisa")
