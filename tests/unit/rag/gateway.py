"""A gateway as retrieval sees it: the routes that embed and rerank, over real HTTP."""

import base64
import json
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Asked:
    path: str
    key: str
    body: dict[str, Any]


@dataclass
class Answer:
    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


class Gateway:
    """Vectors say the text's length and its first letter. `instead` may answer a call in its own way.

    The next `hang_up` calls lose their connection before an answer.
    """

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.connections = 0
        self.instead: Callable[[Asked], Answer | None] = lambda asked: None
        self.as_text = True
        self.hang_up = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def vector(self, text: str) -> list[float]:
        return [float(len(text)), float(ord(text[0])), 1.0]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                gateway.connections += 1
                super().setup()

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                asked = Asked(self.path, self.headers["Authorization"].removeprefix("Bearer "), body)
                gateway.asked.append(asked)
                if gateway.hang_up:
                    gateway.hang_up -= 1
                    self.close_connection = True
                    return
                answer = gateway.instead(asked) or gateway._answer(asked)
                content = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
                self.send_response(answer.status)
                self.send_header("Content-Length", str(len(content)))
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler

    def _answer(self, asked: Asked) -> Answer:
        if asked.path == "/v1/rerank":
            found = [
                {"index": index, "relevance_score": 1 / (1 + len(text))}
                for index, text in enumerate(asked.body["documents"])
            ]
            return Answer(200, {"results": sorted(found, key=lambda item: -item["relevance_score"])})
        vectors = [self.vector(text) for text in asked.body["input"]]
        coded = [
            base64.b64encode(struct.pack("<3f", *vector)).decode() if self.as_text else vector
            for vector in vectors
        ]
        return Answer(
            200, {"data": [{"index": index, "embedding": value} for index, value in enumerate(coded)]}
        )
