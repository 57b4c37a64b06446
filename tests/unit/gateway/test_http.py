"""The HTTP server itself: what is not plain HTTP/1.1 is refused and finds no second reader."""

import http.client
import json
import socket
import time

import pytest

from tests.unit.gateway.harness import ALICE, HELLO, chat_answer, chunk, document, events, running, wait_for

BODY = json.dumps({"model": "m", "messages": HELLO}).encode()
AUTH = b"authorization: Bearer " + ALICE.encode() + b"\r\n"
POST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n" + AUTH
SMUGGLED = b"GET /v1/models HTTP/1.1\r\nhost: x\r\n" + AUTH + b"\r\n"


@pytest.mark.parametrize(
    "head",
    [
        b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
        b"content-length: 5\r\ncontent-length: 6\r\n\r\n12345",
        b"content-length: 5, 6\r\n\r\n12345",
        b"content-length: +5\r\n\r\n12345",
        b"content-length: 0x5\r\n\r\n12345",
        b"content-length : 5\r\n\r\n12345",
        b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n",
        b"x: y\r\n transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"x: a\x00b\r\n\r\n",
        b"x: a\rtransfer-encoding: chunked\r\n\r\n",
        b"x: y\ncontent-length: 5\r\n\r\n12345",
        b"transfer-encoding: chunked\r\n\r\n5;\n12345\r\n0\r\n\r\n",
        b"transfer-encoding: chunked\r\n\r\n-1\r\n\r\n",
        b"transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        b"upgrade: h2c\r\nconnection: upgrade\r\n\r\n",
    ],
)
def test_ambiguous_requests_are_refused_and_nothing_after_them_is_read(gateway, head):
    answer = gateway.raw(POST + head + SMUGGLED)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in answer
    assert b"x-request-id: " in answer
    assert gateway.upstream.asked == []


@pytest.mark.parametrize(
    "line",
    [
        b"GET /v1/models HTTP/3.0",
        b"FOO",
        b"\x16\x03\x01\x02\x00",
        b"GET /v1/models\x00 HTTP/1.1",
        b"PRI * HTTP/2.0",
    ],
)
def test_what_is_no_request_is_refused(gateway, line):
    assert gateway.raw(line + b"\r\nhost: x\r\n\r\n").startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "target",
    [
        b"http://evil.example/v1/models",
        b"*",
        b"evil.example:80",
        b"/v1/models#x",
        b"/v1/models/..%2f",
        b"/v1//models",
    ],
)
def test_other_forms_of_a_target_are_no_way_in(gateway, target):
    answer = gateway.raw(b"GET " + target + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n" + AUTH + b"\r\n")
    assert answer[9:12] in {b"400", b"404"}


def test_a_query_is_ignored(gateway):
    assert gateway.request("GET", "/v1/models?api_base=http://evil.example").status == 200
    gateway.request("POST", "/v1/chat/completions?model=secret", raw=BODY)
    assert gateway.upstream.asked[-1].path == "/v1/chat/completions"


def test_chunked_bodies_are_read_and_sent_on_with_a_length(gateway):
    half = len(BODY) // 2
    chunked = b"%x;ext=1\r\n%b\r\n%x\r\n%b\r\n0\r\ntrailer: api_base\r\n\r\n" % (
        half,
        BODY[:half],
        len(BODY) - half,
        BODY[half:],
    )
    answer = gateway.raw(POST + b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n" + chunked)
    assert answer.startswith(b"HTTP/1.1 200 ")
    asked = gateway.upstream.asked[-1]
    assert asked.json == json.loads(BODY)
    assert "transfer-encoding" not in asked.headers
    assert "trailer" not in asked.headers


def test_a_request_may_arrive_byte_by_byte(gateway):
    data = POST + b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(data)):
            sock.sendall(data[at : at + 1])
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_requests_on_one_connection_are_answered_in_order(gateway):
    # Given a slow first answer and quick ones after it
    slow = events(chunk({"content": "slow"}), gap=0.2)
    gateway.upstream.replies = [slow, document(chat_answer("second"))]
    first = json.dumps({"model": "m", "messages": HELLO, "stream": True}).encode()

    def ask(body):
        return POST + b"content-length: %d\r\n\r\n" % len(body) + body

    # When three are sent at once
    answer = gateway.raw(ask(first) + ask(BODY) + SMUGGLED)
    # Then
    assert answer.count(b"HTTP/1.1 200 OK") == 3
    assert answer.index(b"slow") < answer.index(b"second") < answer.index(b'"object":"list"')


def test_many_pipelined_requests_are_all_answered(gateway):
    answer = gateway.raw(SMUGGLED * 100)
    assert answer.count(b"HTTP/1.1 200 OK") == 100


def test_connections_are_kept_and_closed_as_asked(gateway):
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=5)
    for _ in range(3):
        connection.request("GET", "/health")
        assert connection.getresponse().read()
        assert connection.sock is not None
    connection.request("GET", "/health", headers={"Connection": "close"})
    response = connection.getresponse()
    response.read()
    assert response.getheader("connection") == "close"
    connection.close()
    old = gateway.raw(b"GET /health HTTP/1.0\r\n\r\n")
    assert old.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in old


def test_a_client_of_http_1_0_gets_a_stream_without_chunks(gateway):
    gateway.upstream.reply = events(chunk({"role": "assistant", "content": "x"}), b"data: [DONE]\n\n")
    body = json.dumps({"model": "m", "messages": HELLO, "stream": True}).encode()
    answer = gateway.raw(
        b"POST /v1/chat/completions HTTP/1.0\r\n" + AUTH + b"content-length: %d\r\n\r\n" % len(body) + body
    )
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert rest == chunk({"role": "assistant", "content": "x"}) + b"data: [DONE]\n\n"


def test_a_client_that_asks_before_it_sends_is_told_to_go_on(gateway):
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=5) as sock:
        sock.sendall(
            POST + b"connection: close\r\nexpect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(BODY)
        )
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(BODY)
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_one_packet_is_sent_at_once(gateway):
    connection = next(iter([gateway]))
    with socket.create_connection(("127.0.0.1", connection.port)) as sock:
        wait_for(lambda: gateway.application.server.connections)
        served = next(iter(gateway.application.server.connections))
        inner = served._transport.get_extra_info("socket")
        assert inner.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock


def test_silent_connections_are_closed(gateway, monkeypatch):
    monkeypatch.setattr("lisa_gateway.http.connection.KEEP_ALIVE_SECONDS", 0)
    monkeypatch.setattr("lisa_gateway.http.connection.REQUEST_SECONDS", 0)
    for begun in (
        b"",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n",
        POST + b"content-length: 50\r\n\r\n{",
    ):
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as sock:
            sock.sendall(begun)
            assert sock.recv(100) == b""


def test_a_head_that_trickles_in_does_not_hold_a_connection(gateway, monkeypatch):
    monkeypatch.setattr("lisa_gateway.http.connection.REQUEST_SECONDS", 0)
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(0.05)
        sock.sendall(b"GET /health HTTP/1.1\r\nx-slow: ")
        deadline, ended = time.monotonic() + 10, False
        while not ended and time.monotonic() < deadline:
            try:
                sock.sendall(b"a")
                ended = sock.recv(100) == b""
            except TimeoutError:
                continue
            except ConnectionError:
                ended = True
        assert ended


def test_health_tells_whether_the_catalogue_is_loaded():
    from tests.unit.gateway.harness import MemoryStore

    with running(store=MemoryStore(down=True)) as gateway:
        # Given a table that cannot be read
        assert gateway.request("GET", "/health/liveliness", token=None).status == 200
        for path in ("/health", "/health/readiness"):
            assert gateway.request("GET", path, token=None).status == 503
        assert gateway.chat().status == 503
        assert gateway.request("GET", "/v1/models").status == 503
        # When it can be read again
        gateway.store.down = False
        wait_for(lambda: gateway.request("GET", "/health/readiness", token=None).status == 200)
        # Then
        assert gateway.request("GET", "/health", token=None).json == {"status": "OK"}
        assert gateway.request("GET", "/v2/serve/health", token=ALICE).json == {"status": "OK"}
        assert gateway.chat().status == 200


def test_stopping_lets_answers_end_and_refuses_new_connections():
    with running() as gateway:
        gateway.upstream.reply = events(*(chunk({"content": str(n)}) for n in range(5)), gap=0.05)
        with gateway.open(stream=True) as sock, socket.create_connection(("127.0.0.1", gateway.port)) as idle:
            received = sock.recv(65536)
            stopping = gateway.call(_start(gateway.application.server.close(5)))
            while piece := sock.recv(65536):
                received += piece
            assert received.endswith(b"0\r\n\r\n")
            assert idle.recv(10) == b""
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", gateway.port), timeout=1)
            gateway.call(stopping)


async def _start(work):
    import asyncio

    return asyncio.ensure_future(work)


def test_metrics_are_prometheus_text(gateway):
    gateway.chat()
    answer = gateway.request("GET", "/metrics", token=None)
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    text = answer.body.decode()
    assert 'lisa_gateway_requests_total{endpoint="/v1/chat/completions",model="m",status="200"}' in text
    assert 'lisa_gateway_request_seconds_bucket{endpoint="/v1/chat/completions",model="m",le="+Inf"}' in text
    assert "lisa_gateway_catalogue_version" in text
    for line in text.splitlines():
        assert line.startswith("#") or len(line.rsplit(" ", 1)) == 2


def test_names_that_callers_make_up_do_not_become_labels(gateway):
    gateway.chat(model="made-up-name")
    gateway.request("GET", "/made/up/path")
    text = gateway.request("GET", "/metrics").body
    assert b"made-up" not in text
    assert b"made/up" not in text
    assert time.time()
