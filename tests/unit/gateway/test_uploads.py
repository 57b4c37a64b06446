"""Uploads at the gateway: read while they arrive, put into S3 part by part, refused without being read."""

import asyncio
import socket

import boto3
import pytest
from lisa.errors import LisaError
from lisa_gateway.http.incoming import Incoming
from lisa_gateway.retrieval import objects
from lisa_gateway.retrieval.form import IncomingForm
from lisa_gateway.retrieval.objects import S3Bucket
from moto import mock_aws

from tests.unit.gateway.backends import MemoryBucket, Registry
from tests.unit.gateway.harness import ALICE, running, wait_for

BOUNDARY = "b0undary"
KIND = f"multipart/form-data; boundary={BOUNDARY}"


def form(*parts: tuple[str, str | None, bytes], end: str = f"--{BOUNDARY}--\r\n") -> bytes:
    body = b""
    for name, filename, data in parts:
        shown = f'; filename="{filename}"' if filename is not None else ""
        body += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{shown}\r\n\r\n'.encode()
        body += data + b"\r\n"
    return body + end.encode()


def upload(data: bytes = b"hello", name: str = "a.txt", purpose: str = "assistants") -> bytes:
    return form(("purpose", None, purpose.encode()), ("file", name, data))


@pytest.fixture(scope="module")
def store():
    return MemoryBucket()


@pytest.fixture(scope="module")
def registry():
    return Registry()


@pytest.fixture(scope="module")
def shared_uploads(store, registry):
    with running(
        invoker=registry, bucket=store, max_file_bytes=20_000_000, max_body_bytes=1_000_000
    ) as value:
        yield value


@pytest.fixture
def gateway(shared_uploads, store, registry, monkeypatch):
    monkeypatch.setattr(objects, "PART_BYTES", 1_000_000)
    store.objects.clear()
    store.down, registry.refuses, store.largest = False, False, 0
    return shared_uploads


def post(gateway, body, path="/v1/files", **headers):
    return gateway.request("POST", path, raw=body, headers={"Content-Type": KIND, **headers})


@pytest.mark.parametrize("path", ["/v1/files", "/v2/serve/files", "/v2/serve/v1/files/"])
def test_a_file_lies_under_its_user_and_comes_back_as_it_was(gateway, store, path):
    made = post(gateway, upload(b"\x00\r\n--b0und\xff\r\n"), path).json
    assert (made["filename"], made["bytes"], made["purpose"]) == ("a.txt", 13, "assistants")
    assert store.objects == {f"_files/alice/{made['id']}/a.txt": b"\x00\r\n--b0und\xff\r\n"}
    answer = gateway.request("GET", f"/v1/files/{made['id']}/content")
    assert answer.body == b"\x00\r\n--b0und\xff\r\n"
    # And no browser takes it for a page of this address
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''a.txt"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_file_larger_than_any_other_body_is_stored_part_by_part(gateway, store):
    data = bytes(range(256)) * 32_000  # 8 MB: eight times the limit of other bodies
    made = post(gateway, upload(data)).json
    assert made["bytes"] == len(data)
    assert list(store.objects.values()) == [data]
    assert store.largest < 2_000_000


def test_the_file_may_come_before_its_purpose_and_chunked(gateway, store):
    body = form(
        ("file", "C:\\\\dir\\\\b.txt", b"x" * 3000), ("other", None, b"y"), ("purpose", None, b"user_data")
    )
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as sock:
        sock.sendall(
            f"POST /v1/files HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ALICE}\r\ncontent-type: {KIND}\r\n"
            "transfer-encoding: chunked\r\nconnection: close\r\n\r\n".encode()
        )
        for at in range(0, len(body), 7):
            piece = body[at : at + 7]
            sock.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        sock.sendall(b"0\r\n\r\n")
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
    (key,) = store.objects
    assert key.endswith("/b.txt")


def test_an_upload_that_says_it_is_too_long_is_refused_at_once(gateway):
    head = f"POST /v1/files HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ALICE}\r\ncontent-type: {KIND}\r\n"
    answer = gateway.raw(f"{head}content-length: 900000000000\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer


def test_a_connection_goes_on_after_an_upload(gateway):
    body = upload()
    head = f"POST /v1/files HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ALICE}\r\ncontent-type: {KIND}\r\n"
    one = f"{head}content-length: {len(body)}\r\n\r\n".encode() + body
    after = f"GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ALICE}\r\n\r\n".encode()
    received = gateway.raw(one + after + one)
    assert received.count(b"HTTP/1.1 200 ") == 3
    assert b"connection: close" not in received


def test_a_stranger_is_refused_before_the_body_is_sent(gateway, store):
    head = f"POST /v1/files HTTP/1.1\r\nhost: x\r\ncontent-type: {KIND}\r\ncontent-length: 15000000\r\n\r\n"
    answer = gateway.raw(head.encode())
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close" in answer
    assert store.objects == {}


@pytest.mark.parametrize("length", [True, False])
def test_a_file_over_the_limit_is_413_in_openais_shape_and_nothing_stays(gateway, store, length):
    data = b"x" * 20_000_001
    body = upload(data)
    headers = {} if length else {"Transfer-Encoding": "chunked"}
    answer = post(gateway, body if length else b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body), **headers)
    assert answer.status == 413
    assert answer.error["type"] == "invalid_request_error"
    assert answer.error["code"] == "file_too_large"
    assert "20000000" in answer.error["message"]
    wait_for(lambda: not store.parts)
    assert store.objects == {}


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        (form(("purpose", None, b"assistants")), "file", "missing"),
        (form(("file", "a.txt", b"x")), "purpose", "missing"),
        (upload(purpose="fine-tune"), "purpose", "assistants, user_data"),
        (form(("file", None, b"x")), "file", "a file"),
        (form(("file", "", b"x")), "file", "name"),
        (form(("file", "..", b"x")), "file", "name"),
        (form(("file", "a${filename}", b"x")), "file", "name"),
        (form(("file", "a" * 300, b"x")), "file", "255"),
        (form(("file", "a", b"x"), ("file", "b", b"y")), "file", "more than once"),
        (
            form(("expires_after[seconds]", None, b"3600"), ("file", "a", b"")),
            "expires_after",
            "until it is deleted",
        ),
        (upload()[:-20], None, "not complete"),
        (upload().replace(b"form-data; name", b"nonsense; name"), None, "malformed"),
        (form(("purpose", None, b"x" * 10_000)), None, "too long"),
        (form(*[("x", None, b"")] * 65), None, "more than"),
        (b"", None, "not complete"),
    ],
)
def test_what_is_wrong_with_a_form_is_said_and_nothing_stays(gateway, store, body, param, says):
    answer = post(gateway, body)
    assert answer.status == 400
    assert answer.error["param"] == param
    assert says in answer.error["message"]
    wait_for(lambda: not store.objects)


def test_a_body_that_is_no_http_is_refused_while_it_is_read(gateway, store):
    head = f"POST /v1/files HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ALICE}\r\ncontent-type: {KIND}\r\n"
    received = gateway.raw(f"{head}transfer-encoding: chunked\r\n\r\nnonsense\r\n".encode())
    assert received.startswith(b"HTTP/1.1 400 ")
    assert b"connection: close" in received
    assert received.count(b"HTTP/1.1 ") == 1


def test_what_is_no_form_is_refused(gateway):
    for kind in ("application/json", "multipart/form-data", "text/plain"):
        answer = gateway.request("POST", "/v1/files", raw=b"{}", headers={"Content-Type": kind})
        assert (answer.status, answer.error["code"]) == (400, "invalid_form")


def test_a_file_that_cannot_be_registered_does_not_stay(gateway, store, registry):
    registry.refuses = True
    assert post(gateway, upload()).status == 400
    wait_for(lambda: not store.objects)


def test_who_leaves_in_the_middle_leaves_nothing_behind(gateway, store):
    body = upload(b"x" * 5_000_000)
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as sock:
        sock.sendall(
            f"POST /v1/files HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ALICE}\r\ncontent-type: {KIND}\r\n"
            f"content-length: {len(body)}\r\n\r\n".encode()
            + body[:3_000_000]
        )
        wait_for(lambda: store.parts)
    wait_for(lambda: not store.parts)
    assert store.objects == {}


def test_a_client_faster_than_s3_has_to_wait(gateway, store):
    body = upload(b"x" * 15_000_000)
    store.hold.clear()
    sent = 0
    try:
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=1) as sock:
            head = f"POST /v1/files HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ALICE}\r\ncontent-type: {KIND}\r\n"
            sock.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode())
            try:
                while sent < len(body):
                    sent += sock.send(body[sent : sent + 65536])
            except TimeoutError:
                pass
            assert sent < 12_000_000  # sockets' own buffers take a few megabytes; the gateway two parts
            store.hold.set()
            sock.settimeout(10)
            sock.sendall(body[sent:])
            assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
    finally:
        store.hold.set()


def test_s3_that_is_away_is_503(gateway, store):
    store.down = True
    answer = post(gateway, upload())
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) > 0


def test_writes_are_told_to_the_audit_log_and_reads_are_not(gateway, registry):
    made = post(gateway, upload()).json
    registry.refuses = True
    post(gateway, upload())
    gateway.request("GET", f"/v1/files/{made['id']}/content")

    def since() -> list:
        told = list(gateway.audit.events)
        ids = [event.object_id for event in told]
        return told[ids.index(made["id"]) :] if made["id"] in ids else []

    first, second = wait_for(lambda: since() if len(since()) >= 2 else None)
    assert (first.action, first.object_type, first.object_id) == ("POST /v1/files", "files", made["id"])
    assert (first.outcome, first.principal.user, first.origin.door) == ("success", "alice", "gateway")
    assert (second.outcome, second.status, second.error) == ("failed", 400, "no")


# --- The parts


def test_a_form_is_the_same_wherever_its_bytes_are_cut():
    body = form(
        ("purpose", None, b""), ("file", "a.txt", b"\r\n--b0undary is not\r\n-- the end"), ("z", None, b"1")
    )

    async def read(cut: int) -> list:
        incoming = Incoming(lambda: None, lambda: None)
        for at in range(0, len(body), cut):
            incoming.feed(body[at : at + cut])
        incoming.end()
        parts, found = IncomingForm(KIND.encode(), incoming), []
        while (part := await parts.next()) is not None:
            data = b""
            while piece := await parts.read():
                data += piece
            found.append((part.name, part.filename, data))
        return found

    expected = [
        ("purpose", None, b""),
        ("file", "a.txt", b"\r\n--b0undary is not\r\n-- the end"),
        ("z", None, b"1"),
    ]
    # What looks like the delimiter is one: RFC 2046 leaves it to the sender to choose another
    body = body.replace(b"--b0undary is not", b"--b0und is not")
    expected[1] = ("file", "a.txt", b"\r\n--b0und is not\r\n-- the end")
    for cut in (1, 2, 3, 7, 11, 64, 10_000):
        assert asyncio.run(read(cut)) == expected


def test_a_slow_body_that_is_too_long_is_refused_to_who_reads_it():
    async def play():
        incoming = Incoming(lambda: None, lambda: None)
        reading = asyncio.create_task(incoming.read())
        await asyncio.sleep(0)
        incoming.refuse(LisaError("too long", status=413))
        with pytest.raises(LisaError, match="too long"):
            await reading

    asyncio.run(play())


def test_the_client_is_held_back_and_let_on():
    told = []

    async def play():
        incoming = Incoming(lambda: told.append("pause"), lambda: told.append("resume"))
        for _ in range(10):
            incoming.feed(b"x" * 100_000)
        assert told == ["pause"]
        incoming.end()
        while await incoming.read():
            pass
        assert told == ["pause", "resume"]

    asyncio.run(play())


def test_s3_takes_what_the_bucket_is_told(monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket="drop")
        bucket = S3Bucket(client, "drop")
        first, last = b"a" * (5 << 20), b"b"
        begun = bucket.begin("_files/x")
        etags = [bucket.part("_files/x", begun, n, body) for n, body in enumerate((first, last), 1)]
        bucket.complete("_files/x", begun, etags)
        length, pieces = bucket.open("_files/x")
        assert (length, b"".join(pieces)) == (len(first) + 1, first + last)
        bucket.delete("_files/x")
        with pytest.raises(KeyError):
            bucket.open("_files/x")
        bucket.put("_files/y", b"")
        assert bucket.open("_files/y")[0] == 0
        bucket.abort("_files/z", bucket.begin("_files/z"))
        assert "Uploads" not in client.list_multipart_uploads(Bucket="drop")
