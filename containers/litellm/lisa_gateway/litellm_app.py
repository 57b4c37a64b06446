"""LiteLLM's own proxy application in a process of its own, unmodified, behind a unix socket.

Started by `litellm_process`, which writes one line of JSON to stdin: `{"socket": ..., "key": ...}`. The end
of stdin is the end of this process, so it never outlives the gateway. Around the application there are two
additions, in ASGI: the model list is set by `PUT /_lisa/models`, and a client that leaves cancels the work
that is done for it (LiteLLM by itself does that for streams only).
"""

import asyncio
import contextlib
import hmac
import json
import os
import sys
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

CONFIG = Path(__file__).with_name("litellm.yaml")


class CancelOnDisconnect:
    """Cancels the application's work for a request when its client closes the connection."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = await read_body(receive)
        if body is None:
            return
        gone = asyncio.Event()
        given = False

        async def replay() -> Message:
            nonlocal given
            if not given:
                given = True
                return {"type": "http.request", "body": body, "more_body": False}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            gone.set()

        work = asyncio.ensure_future(self._app(scope, replay, send))
        watcher = asyncio.create_task(watch())
        try:
            await asyncio.wait({work, watcher}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work
        finally:
            watcher.cancel()
            work.cancel()


async def read_body(receive: Receive) -> bytes | None:
    """The whole body; None when the client left before it was complete."""
    pieces = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        pieces.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(pieces)


class ModelList:
    """Answers `PUT /_lisa/models` with the holder of the key, and hands everything else on."""

    def __init__(self, app: App, key: str) -> None:
        self._app = app
        self._authorization = f"Bearer {key}".encode()
        self._present: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/_lisa/models":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"authorization", b"")
        body = await read_body(receive)
        if scope["method"] != "PUT" or body is None or not hmac.compare_digest(given, self._authorization):
            await _answer(send, 403, {"error": "refused"})
            return
        await _answer(send, 200, {"failed": self._set(json.loads(body))})

    def _set(self, wanted: list[dict[str, Any]]) -> dict[str, str]:
        """Makes the router's list equal to `wanted`; says which entries it did not take, and why."""
        from litellm.proxy import proxy_server
        from litellm.router import Router
        from litellm.types.router import Deployment, LiteLLM_Params, ModelInfo

        router = proxy_server.llm_router
        if router is None:
            router = proxy_server.llm_router = Router(model_list=[], num_retries=0, disable_cooldowns=True)
        failed = {}
        for model in wanted:
            try:
                router.upsert_deployment(
                    Deployment(
                        model_name=model["id"],
                        litellm_params=LiteLLM_Params(**model["params"]),
                        model_info=ModelInfo(id=model["id"], mode=model["mode"]),
                    )
                )
                self._present.add(model["id"])
            except Exception as error:  # one model that LiteLLM does not understand must not stop the others
                failed[model["id"]] = type(error).__name__
        for gone in self._present - {model["id"] for model in wanted}:
            router.delete_deployment(id=gone)
        self._present &= {model["id"] for model in wanted}
        proxy_server.llm_model_list = router.get_model_list()
        return failed


async def _answer(send: Send, status: int, document: dict[str, Any]) -> None:
    body = json.dumps(document).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def read_line(descriptor: int) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(descriptor, 4096)
        if not piece:
            sys.exit("litellm_app: nothing on stdin; this is started by the gateway")
        line += piece
    return line


def end_with_parent() -> None:
    """Blocks until stdin ends, which it does when the gateway is gone, then leaves at once."""
    while os.read(sys.stdin.fileno(), 1024):  # not sys.stdin: its lock would stop an interpreter that ends
        pass
    os._exit(0)


def main() -> None:
    start = json.loads(read_line(sys.stdin.fileno()))
    threading.Thread(target=end_with_parent, name="parent", daemon=True).start()
    # Before the import: LiteLLM reads these while it is imported.
    os.environ.update(
        CONFIG_FILE_PATH=str(CONFIG),
        LITELLM_MASTER_KEY=start["key"],
        LITELLM_LOCAL_MODEL_COST_MAP="True",
        LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS="True",
        LITELLM_MODE="PRODUCTION",
        LITELLM_TELEMETRY="False",
        LITELLM_LOG="CRITICAL",  # its tracebacks may hold what a caller wrote
        NO_DOCS="True",
        NO_REDOC="True",
        DISABLE_ADMIN_UI="True",
    )
    import uvicorn
    from litellm.proxy.proxy_server import app

    uvicorn.run(
        ModelList(CancelOnDisconnect(app), start["key"]),
        uds=start["socket"],
        loop="uvloop",
        http="httptools",
        log_level="error",
        access_log=False,
        timeout_keep_alive=75,
        lifespan="on",
    )


if __name__ == "__main__":
    main()
