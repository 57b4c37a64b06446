"""The gateway against its own document, and against callers who keep to none."""

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from lisa_gateway import endpoints
from lisa_gateway.endpoints import Kind
from lisa_gateway.openapi import document
from openapi_spec_validator import validate
from schemathesis import GenerationMode, openapi
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.unit.gateway.harness import ALICE, Running, chat_answer, route, running
from tests.unit.gateway.harness import document as answered

DOCUMENT = document()
OPERATIONS = [(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods]
CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)
MODES = {
    "chat/completions": "m",
    "completions": "m",
    "responses": "m",
    "messages": "m",
    "embeddings": "e",
    "rerank": "r",
}
"""A model for each route that an engine speaks by itself; others would need LiteLLM, which is not there."""

FUZZ = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,  # the same calls in every run
    database=None,
    suppress_health_check=list(HealthCheck),
)
PREFIXES = st.sampled_from(["/v1/", "/v2/serve/", "/v2/serve/v1/"])
KINDS = {name: kind for name, kind in vars(endpoints).items() if isinstance(kind, Kind)}
# JSON schema counts 1.0 as an integer; engines do not all.
FRACTIONS = st.floats(allow_nan=False).filter(lambda value: not value.is_integer())
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | FRACTIONS | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def open_gateway() -> Iterator[Running]:
    def routes(port: int) -> list:
        return [
            route("m", engine="vllm", port=port),
            route("e", mode="embedding", engine="onnx", port=port),
            route("r", mode="rerank", engine="tei", port=port),
        ]

    with running(routes=routes) as value:
        value.upstream.reply = answered(chat_answer())
        yield value


def test_the_document_is_valid():
    validate(DOCUMENT)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_fields_schema_says_what_its_test_does(kind):
    @FUZZ
    @given(value=ANYTHING)
    @example(value=[])
    @example(value=[[]])
    @example(value=[[1]])
    @example(value=[1, "a"])
    @example(value=True)
    @example(value=0)
    @example(value=1)
    def agree(value: Any) -> None:
        assert kind.fits(value) == jsonschema.Draft202012Validator(kind.schema).is_valid(value), value

    agree()


@pytest.mark.parametrize(
    "mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.value
)
@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=lambda value: value)
def test_every_answer_is_as_documented(open_gateway, method, path, mode):
    operation = openapi.from_dict(DOCUMENT)[path][method]
    base = f"http://127.0.0.1:{open_gateway.port}"
    model = MODES.get(path.removeprefix("/v1/"))

    @FUZZ
    @given(case=operation.as_strategy(generation_mode=mode), prefix=PREFIXES, known=st.booleans())
    def run(case: Any, prefix: str, known: bool) -> None:
        if known and model is not None and isinstance(case.body, dict):
            case.body = case.body | {"model": model}
        if "{modelId}" in path and known:
            case.path_parameters = {"modelId": "m"}
        answer = case.call(
            base_url=base, headers={**(case.headers or {}), "Authorization": f"Bearer {ALICE}"}, timeout=10
        )
        case.validate_response(answer, checks=CHECKS)
        assert answer.headers["x-request-id"]

    try:
        run()
    except Exception as error:
        if type(error).__name__ != "Unsatisfiable":
            raise
        assert mode is GenerationMode.NEGATIVE  # nothing can be wrong in a call without parameters


def test_no_value_of_a_credential_is_more_than_refused(open_gateway):
    """LiteLLM CVE-2026-42208: what stood in the header reached a database before anybody had looked at it."""

    @settings(FUZZ, max_examples=400)
    @given(
        header=st.sampled_from([b"authorization", b"api-key", b"x-api-key"]),
        prefix=st.sampled_from([b"", b"Bearer ", b"bearer  ", b"Basic ", b"lisa_", b"Bearer lisa_", b"sk-"]),
        value=st.binary(max_size=200) | st.text(max_size=60).map(str.encode),
    )
    @example(header=b"authorization", prefix=b"Bearer ", value=b"' OR 1=1; --")
    @example(header=b"authorization", prefix=b"Bearer ", value=b"\x00")
    @example(header=b"x-api-key", prefix=b"", value=b"\xff\xfe")
    @example(header=b"authorization", prefix=b"Bearer ", value=b"../../../../etc/passwd")
    def run(header: bytes, prefix: bytes, value: bytes) -> None:
        line = header + b": " + prefix + value.replace(b"\r", b"").replace(b"\n", b"")
        status, body = _exchange(
            open_gateway, b"GET /v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n" + line + b"\r\n\r\n"
        )
        assert status in {400, 401}, (line, status, body)
        assert set(json.loads(body)) == {"error"}

    before = len(open_gateway.upstream.asked)
    run()
    assert len(open_gateway.upstream.asked) == before


def test_no_path_is_more_than_not_found(open_gateway):
    parts = st.sampled_from(
        [b"v1", b"v2", b"serve", b"models", b"chat", b"completions", b"..", b".", b"", b"%2e%2e", b"%2F", b"%00", b"*"]
    )  # fmt: skip

    @settings(FUZZ, max_examples=400)
    @given(
        method=st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"HEAD", b"PATCH"]),
        segments=st.lists(parts | st.binary(max_size=12), max_size=6),
        query=st.binary(max_size=12),
    )
    def run(method: bytes, segments: list[bytes], query: bytes) -> None:
        path = _printable(b"/" + b"/".join(segments) + b"?" + query)
        status, body = _exchange(
            open_gateway,
            method + b" " + path + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
            b"authorization: Bearer " + ALICE.encode() + b"\r\n\r\n",
        )
        assert 200 <= status < 500, (method, path, status, body)

    run()


def _printable(target: bytes) -> bytes:
    """A request line keeps its three words."""
    return bytes(byte for byte in target if byte > 0x20 and byte != 0x7F)


def _exchange(gateway: Running, request: bytes) -> tuple[int, bytes]:
    answer = gateway.raw(request)
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), body
