"""Requests that are wrong: 400 that names the field, 413, and never a word to the engine."""

import json

import pytest
from lisa_gateway.endpoints import ENDPOINTS
from lisa_gateway.http.connection import MAX_HEAD_BYTES
from lisa_gateway.validation import forbidden

from tests.unit.gateway.harness import ALICE, HELLO, running

MINIMAL = {
    "chat/completions": {"model": "m", "messages": HELLO},
    "completions": {"model": "m", "prompt": "x"},
    "embeddings": {"model": "e", "input": "x"},
    "responses": {"model": "m", "input": "x"},
    "messages": {"model": "m", "messages": HELLO, "max_tokens": 5},
    "messages/count_tokens": {"model": "m", "messages": HELLO},
    "rerank": {"model": "tei", "query": "x", "documents": ["y"]},
}


def send(gateway, name, **fields):
    body = {key: value for key, value in {**MINIMAL[name], **fields}.items() if value is not ...}
    return gateway.request("POST", "/v1/" + name, body=body)


@pytest.mark.parametrize("name", MINIMAL)
def test_the_least_that_is_needed_is_accepted(gateway, name):
    assert send(gateway, name).status == 200


WRONG = [
    ("chat/completions", "temperature", "hot"),
    ("chat/completions", "temperature", True),
    ("chat/completions", "max_tokens", "many"),
    ("chat/completions", "max_tokens", 1.5),
    ("chat/completions", "max_completion_tokens", []),
    ("chat/completions", "messages", "hello"),
    ("chat/completions", "messages", []),
    ("chat/completions", "messages", ["hello"]),
    ("chat/completions", "messages", {}),
    ("chat/completions", "stream", "yes"),
    ("chat/completions", "stream", 1),
    ("chat/completions", "n", 0),
    ("chat/completions", "n", "2"),
    ("chat/completions", "stop", [1]),
    ("chat/completions", "tools", {}),
    ("chat/completions", "tools", ["x"]),
    ("chat/completions", "tool_choice", 5),
    ("chat/completions", "response_format", "json"),
    ("chat/completions", "seed", "x"),
    ("chat/completions", "logit_bias", []),
    ("chat/completions", "stream_options", True),
    ("chat/completions", "user", 5),
    ("chat/completions", "metadata", []),
    ("chat/completions", "top_p", {}),
    ("completions", "prompt", 5),
    ("completions", "prompt", []),
    ("completions", "prompt", [["a"]]),
    ("completions", "best_of", 0),
    ("completions", "stream", "true"),
    ("embeddings", "input", 5),
    ("embeddings", "input", []),
    ("embeddings", "input", [{}]),
    ("embeddings", "input", ["a", 1]),
    ("embeddings", "dimensions", "5"),
    ("embeddings", "encoding_format", 1),
    ("responses", "input", 5),
    ("responses", "max_output_tokens", "x"),
    ("responses", "stream", "x"),
    ("messages", "max_tokens", 0),
    ("messages", "max_tokens", "5"),
    ("messages", "messages", "x"),
    ("messages", "system", 5),
    ("messages", "stop_sequences", "x"),
    ("messages/count_tokens", "messages", 1),
    ("rerank", "documents", "x"),
    ("rerank", "query", 1),
    ("rerank", "top_n", 0),
]


@pytest.mark.parametrize(("name", "field", "value"), WRONG)
def test_a_wrong_type_is_named(gateway, name, field, value):
    answer = send(gateway, name, **{field: value})
    assert answer.status == 400
    assert f"`{field}`" in json.dumps(answer.json)
    if not name.startswith("messages"):
        assert answer.error["param"] == field
        assert answer.error["type"] == "invalid_request_error"
    assert gateway.upstream.asked == []


@pytest.mark.parametrize(
    ("name", "field"), [(name, field) for name in MINIMAL for field in ENDPOINTS[name].required]
)
def test_a_missing_field_is_named(gateway, name, field):
    for value in (..., None):
        answer = send(gateway, name, **{field: value})
        assert answer.status == 400
        assert f"`{field}`" in json.dumps(answer.json)


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"content": "x"}, "messages[1].role"),
        ({"role": 5, "content": "x"}, "messages[1].role"),
        ({"role": "user", "content": 5}, "messages[1].content"),
        ({"role": "user", "content": {}}, "messages[1].content"),
    ],
)
def test_a_wrong_message_is_named_by_its_place(gateway, message, param):
    answer = send(gateway, "chat/completions", messages=[*HELLO, message])
    assert (answer.status, answer.error["param"]) == (400, param)


@pytest.mark.parametrize("content", [None, "", "text", [{"type": "text", "text": "x"}]])
def test_messages_may_be_empty_texts_or_parts(gateway, content):
    assert (
        send(gateway, "chat/completions", messages=[{"role": "assistant", "content": content}]).status == 200
    )


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"nonsense",
        b"[]",
        b"null",
        b'"x"',
        b'{"model": "m", }',
        b"{'model': 'm'}",
        b'{"model": "\xff"}',
        b'{"model": "m", "temperature": NaN}',
        b'{"model": "\\ud800"}',
        b"[" * 100_000,
        b'{"a":' * 5000,
        b"\x00",
        b'\xef\xbb\xbf{"model": "m"}',
        b"model=m",
    ],
)
def test_what_is_no_json_object_is_refused(gateway, raw):
    for name in ("chat/completions", "embeddings"):
        answer = gateway.request("POST", "/v1/" + name, raw=raw)
        assert (answer.status, answer.error["code"]) == (400, "invalid_json")
    answer = gateway.request("POST", "/v1/messages", raw=raw)
    assert (answer.status, answer.json["type"]) == (400, "error")
    assert answer.json["error"]["type"] == "invalid_request_error"
    assert answer.json["request_id"] == answer.headers["x-request-id"]


def test_text_with_nul_and_every_plane_reaches_the_engine_unchanged(gateway):
    text = "a\x00b \u202e \U0001f600 \ufffe e\u0301"
    assert send(gateway, "chat/completions", messages=[{"role": "user", "content": text}]).status == 200
    assert gateway.upstream.asked[-1].json["messages"][0]["content"] == text


STEERING = [
    "api_base",
    "base_url",
    "api_key",
    "api_version",
    "extra_headers",
    "extra_body",
    "headers",
    "organization",
    "custom_llm_provider",
    "model_list",
    "user_config",
    "fallbacks",
    "context_window_fallbacks",
    "content_policy_fallbacks",
    "router_settings_override",
    "litellm_params",
    "litellm_metadata",
    "litellm_credential_name",
    "litellm_session_id",
    "mock_response",
    "model_info",
    "aws_access_key_id",
    "aws_bedrock_runtime_endpoint",
    "azure_ad_token",
    "vertex_credentials",
    "s3_endpoint_url",
    "langfuse_host",
    "input_cost_per_token",
    "_router_weights",
    "proxy_server_request",
    "tags",
    "user_api_key_auth_metadata",
    "num_retries",
    "guardrails",
    "deployment_id",
]


@pytest.mark.parametrize("field", STEERING)
def test_a_field_that_would_steer_the_gateway_is_refused_by_name(gateway, field):
    for value in ("http://evil.example", None, {}, []):
        answer = send(gateway, "chat/completions", **{field: value})
        assert (answer.status, answer.error["param"]) == (400, field)
        assert field in answer.error["message"]
    assert gateway.upstream.asked == []


@pytest.mark.parametrize("name", MINIMAL)
@pytest.mark.parametrize("field", ["api_base", "base_url", "api_key", "extra_headers", "fallbacks"])
def test_it_is_refused_on_every_route(gateway, name, field):
    answer = send(gateway, name, **{field: "x"})
    assert answer.status == 400
    assert field in json.dumps(answer.json)


@pytest.mark.parametrize("name", ["chat/completions", "responses", "messages"])
def test_it_is_refused_inside_metadata_too(gateway, name):
    answer = send(gateway, name, metadata={"user": "x", "langfuse_host": "http://evil.example"})
    assert answer.status == 400
    assert "metadata.langfuse_host" in json.dumps(answer.json)
    assert send(gateway, name, metadata={"user_id": "x", "trace": "y"}).status == 200


def test_an_escaped_name_is_the_same_name(gateway):
    raw = b'{"model": "m", "messages": [{"role": "user", "content": "x"}], "api\\u005fbase": "http://evil"}'
    answer = gateway.request("POST", "/v1/chat/completions", raw=raw)
    assert (answer.status, answer.error["param"]) == (400, "api_base")


def test_the_fields_of_the_public_apis_are_all_allowed():
    ours = {name for endpoint in ENDPOINTS.values() for name in endpoint.fields}
    public = ours | {
        "service_tier",
        "prediction",
        "modalities",
        "audio",
        "web_search_options",
        "verbosity",
        "reasoning_effort",
        "prompt_cache_key",
        "safety_identifier",
        "functions",
        "function_call",
        "truncation",
        "background",
        "conversation",
        "container",
        "mcp_servers",
        "context_management",
        "guided_json",
        "ignore_eos",
        "repetition_penalty",
        "mirostat",
        "cache_prompt",
        "priority",
        "output_format",
        "moderation",
        "chat_template_kwargs",
        "include_reasoning",
        "add_generation_prompt",
        "truncate_prompt_tokens",
        "normalize",
        "top_logprobs",
        "prompt_cache_retention",
    }
    assert [name for name in sorted(public) if forbidden(name)] == []


def test_a_body_over_the_limit_is_413_however_it_is_sent():
    with running(max_body_bytes=20_000) as gateway:
        big = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * 30_000}]}).encode()
        # declared
        declared = gateway.request("POST", "/v1/chat/completions", raw=big)
        # in chunks, without a length
        chunked = gateway.request(
            "POST",
            "/v1/chat/completions",
            headers={"Transfer-Encoding": "chunked", "Authorization": f"Bearer {ALICE}"},
            raw=b"%x\r\n%b\r\n0\r\n\r\n" % (len(big), big),
        )
        for answer in (declared, chunked):
            assert (answer.status, answer.error["code"]) == (413, "request_too_large")
            assert "20000" in answer.error["message"]
            assert answer.headers["x-request-id"]
        # Anthropic's shape on its own route
        anthropic = gateway.request("POST", "/v1/messages", raw=big)
        assert (anthropic.status, anthropic.json["error"]["type"]) == (413, "request_too_large")
        # and at the limit it passes
        fits = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * 100}]}).encode()
        assert (
            gateway.request("POST", "/v1/chat/completions", raw=fits + b" " * (20_000 - len(fits))).status
            == 200
        )
        assert len(gateway.upstream.asked) == 1


def test_a_body_that_is_only_announced_is_refused_at_once():
    with running(max_body_bytes=1000) as gateway:
        answer = gateway.raw(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n"
        )
        assert answer.startswith(b"HTTP/1.1 413 ")


def test_headers_over_the_limit_are_431(gateway):
    answer = gateway.raw(b"GET /v1/models HTTP/1.1\r\nhost: x\r\nx-big: " + b"a" * (MAX_HEAD_BYTES + 10))
    assert answer.startswith(b"HTTP/1.1 431 ")
