"""A whole gateway on loopback in front of a small upstream that does what a test tells it."""

import asyncio
import http.client
import io
import json
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import uvloop
from lisa.audit.event import AuditEvent
from lisa.guardrails.definition import Guardrail
from lisa.identity import IdentitySettings, TokenVerifier
from lisa.identity.keys import KeySet
from lisa.models.routes import HostedTarget, ProviderTarget, Route
from lisa.usage.message import Message
from lisa_gateway.access_log import AccessLog
from lisa_gateway.application import Application
from lisa_gateway.guardrails import Guards
from lisa_gateway.limits import Limits
from lisa_gateway.settings import Settings

from tests.unit.gateway.backends import MemoryBucket, Nothing
from tests.unit.identity.issuer import CLIENT, Issuer

ISSUER = Issuer()
ALICE = ISSUER.sign(ISSUER.id_claims(**{"cognito:username": "alice", "cognito:groups": ["user", "team-a"]}))
BOB = ISSUER.sign(ISSUER.access_claims(username="bob", **{"cognito:groups": ["user", "team-b"]}))
ADMIN = ISSUER.sign(ISSUER.id_claims(**{"cognito:username": "root", "cognito:groups": ["admin"]}))

HELLO = [{"role": "user", "content": "hello"}]


@dataclass
class Asked:
    """A request as the upstream has seen it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    raw_head: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Reply = Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]


def document(body: Any, status: int = 200, **headers: str) -> Reply:
    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()
        lines = {"content-type": "application/json", **{n.replace("_", "-"): v for n, v in headers.items()}}
        head = f"HTTP/1.1 {status} X\r\n" + "".join(f"{n}: {v}\r\n" for n, v in lines.items())
        writer.write(f"{head}content-length: {len(data)}\r\n\r\n".encode() + data)

    return reply


def events(
    *pieces: bytes, gap: float = 0, close: bool = False, after: Callable[[], Any] | None = None
) -> Reply:
    """A stream in chunked coding, one chunk a piece."""

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"
        writer.write((head + ("connection: close\r\n" if close else "") + "\r\n").encode())
        for piece in pieces:
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
            if gap:
                await asyncio.sleep(gap)
        writer.write(b"0\r\n\r\n")
        if close:
            writer.close()

    return reply


def chat_answer(text: str = "hi", **usage: int) -> dict[str, Any]:
    return {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10, **usage},
    }


def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return (
        b"data: "
        + json.dumps(
            {"id": "c1", "object": "chat.completion.chunk", "choices": [choice]}, separators=(",", ":")
        ).encode()
        + b"\n\n"
    )


USAGE = (
    b'data: {"id":"c1","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}\n\n'
)
DONE = b"data: [DONE]\n\n"


@dataclass
class Upstream:
    """An HTTP/1.1 server whose answers a test sets: one `reply` for all, or `replies` one after the other."""

    reply: Reply = field(default_factory=lambda: document(chat_answer()))
    replies: list[Reply] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    # Set when a client closes the connection while it is being answered.
    left: threading.Event = field(default_factory=threading.Event)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, host, port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *lines = head.strip().split("\r\n")
                method, path, _ = first.split(" ")
                headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines)}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                asked = Asked(method, path, headers, body, head)
                self.asked.append(asked)
                work = asyncio.ensure_future(
                    (self.replies.pop(0) if self.replies else self.reply)(asked, writer)
                )
                end = asyncio.ensure_future(reader.read(1))
                await asyncio.wait({work, end}, return_when=asyncio.FIRST_COMPLETED)
                if not work.done():
                    self.left.set()
                    work.cancel()
                    return
                if isinstance(work.exception(), ConnectionError):
                    self.left.set()
                if work.exception() is not None or writer.is_closing():
                    end.cancel()
                    return
                if end.done():
                    return
                end.cancel()
                await asyncio.wait({end})
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@dataclass
class MemoryStore:
    """The models table, in memory."""

    listed: dict[str, Route] = field(default_factory=dict)
    number: int = 1
    acknowledged: list[tuple[str, int]] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    down: bool = False

    def version(self) -> int:
        if self.down:
            raise ConnectionError("no table")
        return self.number

    def routes(self) -> tuple[int, list[Route]]:
        return self.version(), list(self.listed.values())

    def acknowledge(self, instance_id: str, version: int) -> None:
        self.version()
        self.acknowledged.append((instance_id, version))

    def leave(self, instance_id: str) -> None:
        self.left.append(instance_id)

    def put(self, *routes: Route) -> None:
        for route in routes:
            self.listed[route.model_id] = route
        self.number += 1

    def remove(self, model_id: str) -> None:
        del self.listed[model_id]
        self.number += 1


@dataclass
class MemoryQueue:
    """The usage queue, in memory."""

    messages: list[Message] = field(default_factory=list)

    def send(self, messages: Sequence[Message]) -> set[str]:
        self.messages += messages
        return {message.id for message in messages}


@dataclass
class MemoryAudit:
    """The audit log, in memory."""

    events: list[AuditEvent] = field(default_factory=list)

    def publish(self, events: Sequence[AuditEvent]) -> None:
        self.events += events


def route(
    model_id: str,
    *,
    mode: str = "chat",
    state: str = "active",
    groups: tuple[str, ...] = (),
    target: HostedTarget | ProviderTarget | None = None,
    port: int = 1,
    engine: str = "llamacpp",
    guardrails: tuple[Guardrail, ...] = (),
) -> Route:
    hosted = HostedTarget(
        engine=engine, base_url=f"http://127.0.0.1:{port}", host_header=f"{model_id}.internal"
    )
    kinds = {"embedding": "embedding", "image_generation": "imagegen"}
    return Route(
        model_id=model_id,
        model_name=f"org/{model_id}",
        model_type=kinds.get(mode, "textgen"),
        mode=mode,
        hosting_type="lisa_hosted",
        state=state,
        allowed_groups=groups,
        context_window=2048,
        created_at=1_700_000_000,
        target=target or hosted,
        guardrails=guardrails,
    )


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        return self.json["error"]


@dataclass
class Running:
    """A gateway and its upstream, in an event loop of their own thread."""

    upstream: Upstream
    store: MemoryStore
    application: Application
    loop: asyncio.AbstractEventLoop
    port: int
    log: io.BytesIO
    access_log: AccessLog
    queue: MemoryQueue
    audit: MemoryAudit

    def request(
        self,
        method: str,
        path: str,
        *,
        token: str | None = ALICE,
        body: Any = None,
        raw: bytes | None = None,
        headers: dict[str, str] | None = None,
        timeout: float = 10,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        data = raw if raw is not None else (json.dumps(body).encode() if body is not None else None)
        given = dict(headers or {})
        if token is not None and not {"authorization"} & {name.lower() for name in given}:
            given["Authorization"] = f"Bearer {token}"
        try:
            connection.request(method, path, body=data, headers=given)
            response = connection.getresponse()
            return Answer(response.status, {n.lower(): v for n, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def chat(
        self,
        *,
        path: str = "/v1/chat/completions",
        token: str | None = ALICE,
        headers: dict[str, str] | None = None,
        **fields: Any,
    ) -> Answer:
        return self.request(
            "POST", path, token=token, headers=headers, body={"model": "m", "messages": HELLO, **fields}
        )

    def raw(self, data: bytes, *, timeout: float = 5) -> bytes:
        """Sends bytes as they are, and reads until the gateway closes or says no more for a moment."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as sock:
            sock.sendall(data)
            sock.settimeout(0.5)
            received = b""
            try:
                while piece := sock.recv(65536):
                    received += piece
            except TimeoutError:
                pass
            return received

    def open(self, path: str = "/v1/chat/completions", token: str = ALICE, **fields: Any) -> socket.socket:
        """A connection on which a request has been sent, for tests that leave."""
        body = json.dumps({"model": "m", "messages": HELLO, **fields}).encode()
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        sock.sendall(
            f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n"
            f"content-length: {len(body)}\r\n\r\n".encode()
            + body
        )
        return sock

    def put(self, *routes: Route) -> None:
        """Changes the table and waits until the gateway has loaded it."""
        self.store.put(*routes)
        self.await_version()

    def await_version(self) -> None:
        wait_for(lambda: self.application.catalogue.version == self.store.number)

    def lines(self) -> list[dict[str, Any]]:
        """The access log so far."""
        self.access_log.flush()
        return [json.loads(line) for line in self.log.getvalue().splitlines()]

    def metric(self, line: str) -> float:
        for text in self.request("GET", "/metrics").body.decode().splitlines():
            if text.startswith(line + " "):
                return float(text.rsplit(" ", 1)[1])
        return 0.0

    def call(self, work: Awaitable[Any]) -> Any:
        async def run() -> Any:
            return await work

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(30)


def wait_for(probe: Callable[[], Any], within: float = 10) -> Any:
    deadline = time.monotonic() + within
    while not (seen := probe()):
        if time.monotonic() > deadline:
            raise AssertionError("did not happen in time")
        time.sleep(0.005)
    return seen


@contextmanager
def running(
    *,
    routes: Callable[[int], list[Route]] | None = None,
    read_secret: Callable[[str], str] | None = None,
    store: MemoryStore | None = None,
    real_store: Any = None,
    verifier: TokenVerifier | None = None,
    litellm_command: tuple[str, ...] = (),
    prepare_seconds: float = 3600,
    guards: Guards | None = None,
    limits: Callable[[], Limits] | None = None,
    invoker: Any = None,
    bucket: Any = None,
    **settings: Any,
) -> Iterator[Running]:
    """Starts a gateway; `routes` is given the upstream's port."""
    log, ready, stop = io.BytesIO(), threading.Event(), threading.Event()
    store = store or MemoryStore()
    box: dict[str, Any] = {}
    options = Settings(
        identity=IdentitySettings(issuer=ISSUER.url, client_id=CLIENT),
        models_table="t",
        usage_queue_url="q",
        event_bus="bus",
        host="127.0.0.1",
        port=0,
    )
    options = replace(options, **settings)

    async def main() -> None:
        upstream = Upstream()
        await upstream.start()
        for item in (routes or (lambda port: [route("m", port=port)]))(upstream.port):
            store.listed[item.model_id] = item
        access_log, queue, audit = AccessLog(log), MemoryQueue(), MemoryAudit()
        keys = KeySet(ISSUER.url, "http://keys", fetch=ISSUER.fetch)
        application = Application(
            options,
            verifier=verifier or TokenVerifier(options.identity, keys=keys),
            open_store=lambda: real_store or store,
            access_log=access_log,
            poll_seconds=0.02,
            open_usage_queue=lambda: queue,
            guards=guards,
            limits=limits() if limits is not None else None,
            open_audit=lambda: audit,
            open_invoker=lambda: invoker or Nothing(),
            open_bucket=lambda: bucket or MemoryBucket(),
            read_secret=read_secret or (lambda arn: f"sk-of-{arn}"),
            litellm_command=litellm_command,
            prepare_seconds=prepare_seconds,
        )
        port = await application.start()
        box["running"] = Running(
            upstream, store, application, asyncio.get_running_loop(), port, log, access_log, queue, audit
        )
        ready.set()
        await asyncio.to_thread(stop.wait)
        await application.stop(grace=0.2)

    thread = threading.Thread(target=lambda: uvloop.run(main()), name="gateway")
    thread.start()
    try:
        assert ready.wait(20)
        if not store.down and real_store is None:
            box["running"].await_version()
        yield box["running"]
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()
