"""Bedrock Guardrails, over HTTP: whatever comes back but a clear pass lets nothing through."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest
from botocore.config import Config
from lisa.guardrails.definition import Guardrail
from lisa_gateway.guardrails import Guards
from lisa_gateway.guardrails.engines import Judges

from tests.unit.gateway.harness import ALICE, Running, route, running

PASS = {"usage": {}, "action": "NONE", "outputs": [], "assessments": []}
HIT = {**PASS, "action": "GUARDRAIL_INTERVENED", "outputs": [{"text": "Sorry"}]}


class Bedrock:
    """Plays bedrock-runtime: `answer` is (status, body), or None to hang until the test ends."""

    def __init__(self) -> None:
        self.answer: tuple[int, bytes] | None = (200, json.dumps(PASS).encode())
        self.asked: list[tuple[str, Any]] = []
        self.ended = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.asked.append((self.path, json.loads(body)))
                if outer.answer is None:
                    outer.ended.wait(30)
                    return
                status, data = outer.answer
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.ended.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def bedrock() -> Iterator[Bedrock]:
    value = Bedrock()
    yield value
    value.close()


@pytest.fixture(scope="module")
def shared(bedrock: Bedrock) -> Iterator[Running]:
    def client(region: str | None) -> Any:
        return boto3.session.Session(
            aws_access_key_id="AKIDEXAMPLE", aws_secret_access_key="x", region_name=region or "us-east-1"
        ).client(
            "bedrock-runtime",
            endpoint_url=bedrock.url,
            config=Config(read_timeout=0.5, retries={"total_max_attempts": 1}),
        )

    def routes(port: int) -> list:
        arn = "arn:aws:bedrock:eu-west-1:123456789012:guardrail/abc"
        return [
            route("pre", port=port, guardrails=(Guardrail("bed", "abc123", "3"),)),
            route("post", port=port, guardrails=(Guardrail("bed", arn, mode="post_call"),)),
        ]

    with running(routes=routes, guards=Guards(Judges(client), time_limit=3)) as value:
        yield value


@pytest.fixture
def asked(bedrock: Bedrock) -> Bedrock:
    bedrock.answer = (200, json.dumps(PASS).encode())
    bedrock.asked.clear()
    return bedrock


def test_what_passes_is_answered_and_the_guardrail_saw_the_text(gateway, asked):
    assert gateway.chat(model="pre").json["choices"][0]["message"]["content"] == "hi"
    ((path, body),) = asked.asked
    assert path == "/guardrail/abc123/version/3/apply"
    assert body["source"] == "INPUT"
    assert "hello" in body["content"][0]["text"]["text"]


@pytest.mark.parametrize(("model", "reached"), [("pre", 0), ("post", 1)])
def test_what_bedrock_blocks_is_blocked(gateway, asked, model, reached):
    asked.answer = (200, json.dumps(HIT).encode())
    answer = gateway.chat(model=model)
    assert answer.json["lisa_guardrail_triggered"] is True
    assert "bed" in answer.json["choices"][0]["message"]["content"]
    assert len(gateway.upstream.asked) == reached


ERROR = b'{"message": "secret internals"}'


@pytest.mark.parametrize("model", ["pre", "post"])
@pytest.mark.parametrize(
    "answer",
    [
        None,
        (429, ERROR),
        (403, ERROR),
        (404, ERROR),
        (500, ERROR),
        (503, ERROR),
        (200, b""),
        (200, b"{}"),
        (200, b"not json"),
        (200, b'{"action": "MAYBE"}'),
        (200, b'{"action": null}'),
        (200, b'{"action": ["NONE"]}'),
    ],
)
def test_anything_but_a_verdict_lets_nothing_through(gateway, asked, model, answer):
    # Given
    asked.answer = answer

    # When
    told = gateway.chat(model=model)

    # Then
    assert (told.status, told.error["code"]) == (503, "guardrail_unavailable")
    assert "bed" in told.error["message"]
    assert b"internals" not in told.body
    assert len(gateway.upstream.asked) == (model == "post")


def test_a_long_text_is_judged_to_its_end(gateway, asked):
    gateway.chat(model="pre", messages=[{"role": "user", "content": "word " * 10_000 + "the end"}])
    assert len(asked.asked) > 1
    assert "the end" in asked.asked[-1][1]["content"][0]["text"]["text"]


def test_a_guardrail_that_hangs_past_its_time_holds_up_nobody_else(gateway, asked):
    asked.answer = None
    held = gateway.open(model="pre", token=ALICE)
    assert gateway.request("GET", "/v1/models").status == 200
    held.close()


def test_the_time_limit_holds_whatever_the_judge_does():
    # Given a judge that ignores its own limits
    free = threading.Event()

    class Stuck(Judges):
        def judge(self, *_: Any) -> Any:
            free.wait(30)
            return [[]]

    def routes(port: int) -> list:
        return [route("m", port=port, guardrails=(Guardrail("bed", "abc123"),))]

    guards = Guards(Stuck(), time_limit=0.2)
    with running(routes=routes, guards=guards) as gateway:
        # When, Then
        answer = gateway.chat()
        assert (answer.status, answer.error["code"]) == (503, "guardrail_unavailable")
        free.set()
