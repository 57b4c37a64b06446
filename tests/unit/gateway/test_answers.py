"""Answers of hosted models on their way through: bytes as they come, usage counted, errors in one shape."""

import json

import pytest

from tests.unit.gateway.harness import (
    DONE,
    HELLO,
    ISSUER,
    USAGE,
    chat_answer,
    chunk,
    document,
    events,
    route,
    running,
)

CHUNKS = [
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "he"}),
    chunk({"content": "llo"}),
    chunk({}, "stop"),
]


def test_an_answer_arrives_as_the_engine_wrote_it(gateway):
    body = json.dumps(chat_answer("gr\u00fc\u00dfe", extra_of_this_engine=1), indent=3).encode()
    gateway.upstream.reply = document(body)
    answer = gateway.chat()
    assert answer.status == 200
    assert answer.body == body
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("prefix", ["/v1", "/v2/serve", "/v2/serve/v1"])
def test_the_engine_sees_its_host_name_and_none_of_the_callers_headers(gateway, prefix):
    gateway.chat(
        path=prefix + "/chat/completions",
        headers={
            "Host": "evil.example",
            "X-Forwarded-Host": "evil",
            "Connection": "x-secret",
            "x-secret": "1",
            "TE": "trailers",
            "Cookie": "a=b",
            "x-litellm-timeout": "1",
            "Api-Key": "",
            "x-request-id": "req-of-the-caller.1",
        },
    )
    asked = gateway.upstream.asked[-1]
    assert asked.path == "/v1/chat/completions"
    assert asked.headers == {
        "host": "m.internal",
        "content-type": "application/json",
        "x-request-id": "req-of-the-caller.1",
        "content-length": str(len(asked.body)),
    }


def test_the_request_id_of_the_caller_is_kept_when_it_is_harmless(gateway):
    assert gateway.chat(headers={"x-request-id": "abc-123"}).headers["x-request-id"] == "abc-123"
    for bad in ("a b", 'a"b', "x" * 200, "<script>"):
        assert gateway.chat(headers={"x-request-id": bad}).headers["x-request-id"].startswith("req-")


def test_unknown_fields_and_values_reach_the_engine(gateway):
    fields = {
        "temperature": 0.1,
        "seed": 42,
        "chat_template_kwargs": {"x": 1},
        "grammar": 'root ::= "a"',
        "max_tokens": None,
        "logit_bias": {"5": -100},
        "metadata": {"trace": "t"},
    }
    gateway.chat(**fields)
    assert gateway.upstream.asked[-1].json == {"model": "m", "messages": HELLO, **fields}


def test_of_two_models_in_one_body_the_one_that_was_judged_is_used(gateway):
    messages = json.dumps(HELLO)
    # Given bodies that name two models, in both orders and with an escaped name
    for first, second in (("m", "secret"), ("secret", "m")):
        for key in ("model", "mod\\u0065l"):
            raw = f'{{"model": "{first}", "messages": {messages}, "{key}": "{second}"}}'.encode()
            # When
            answer = gateway.request("POST", "/v1/chat/completions", raw=raw)
            # Then what is sent on names one model only, the one that the caller may use
            if second == "secret":
                assert answer.status == 404
            else:
                assert answer.status == 200
                assert gateway.upstream.asked[-1].body.count(b'"model"') == 1
                assert gateway.upstream.asked[-1].json["model"] == "m"


def test_usage_of_an_answer_is_counted(gateway):
    before = [
        gateway.metric(f'lisa_gateway_tokens_total{{model="m",kind="{kind}"}}')
        for kind in ("prompt", "completion")
    ]
    gateway.upstream.reply = document(chat_answer(prompt_tokens=11, completion_tokens=5))
    gateway.chat()
    after = [
        gateway.metric(f'lisa_gateway_tokens_total{{model="m",kind="{kind}"}}')
        for kind in ("prompt", "completion")
    ]
    assert [b - a for a, b in zip(before, after, strict=True)] == [11, 5]
    assert (gateway.lines()[-1]["promptTokens"], gateway.lines()[-1]["completionTokens"]) == (11, 5)


def test_a_stream_passes_without_the_usage_that_was_not_asked_for_and_is_counted(gateway):
    gateway.upstream.reply = events(*CHUNKS, USAGE, DONE)
    answer = gateway.chat(stream=True)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.body == b"".join(CHUNKS) + DONE
    assert gateway.upstream.asked[-1].json["stream_options"] == {"include_usage": True}
    assert gateway.lines()[-1]["completionTokens"] == 3


def test_a_stream_keeps_the_usage_that_was_asked_for(gateway):
    gateway.upstream.reply = events(*CHUNKS, USAGE, DONE)
    answer = gateway.chat(stream=True, stream_options={"include_usage": True})
    assert answer.body == b"".join(CHUNKS) + USAGE + DONE
    assert gateway.lines()[-1]["completionTokens"] == 3


def test_other_stream_options_are_kept(gateway):
    gateway.upstream.reply = events(*CHUNKS, DONE)
    gateway.chat(stream=True, stream_options={"continuous_usage_stats": False})
    assert gateway.upstream.asked[-1].json["stream_options"] == {
        "continuous_usage_stats": False,
        "include_usage": True,
    }
    gateway.chat(stream=False)
    assert "stream_options" not in gateway.upstream.asked[-1].json


def test_embeddings_and_responses_and_messages_are_not_touched(gateway):
    for path, body in (
        ("responses", {"model": "m", "input": "x", "stream": True}),
        ("messages", {"model": "m", "messages": HELLO, "max_tokens": 3, "stream": True}),
    ):
        gateway.request("POST", "/v1/" + path, body=body)
        assert gateway.upstream.asked[-1].json == body


def test_anthropic_streams_are_counted_from_their_first_and_last_event(gateway):
    start = (
        b"event: message_start\n"
        b'data: {"type":"message_start","message":{"usage":{"input_tokens":9,"output_tokens":1}}}\n\n'
    )
    delta = b'event: message_delta\ndata: {"type":"message_delta","usage":{"output_tokens":4}}\n\n'
    gateway.upstream.reply = events(start, delta)
    answer = gateway.request(
        "POST", "/v1/messages", body={"model": "m", "messages": HELLO, "max_tokens": 5, "stream": True}
    )
    assert answer.body == start + delta
    assert (gateway.lines()[-1]["promptTokens"], gateway.lines()[-1]["completionTokens"]) == (9, 4)


def test_the_first_event_arrives_before_the_second_is_made(gateway):
    gateway.upstream.reply = events(*CHUNKS, DONE, gap=0.3)
    with gateway.open(stream=True) as sock:
        received = b""
        while b"data:" not in received:
            received += sock.recv(65536)
    assert CHUNKS[0] in received
    assert CHUNKS[1] not in received


def test_engines_that_close_after_a_stream_are_called_again_on_a_new_connection(gateway):
    gateway.upstream.reply = events(*CHUNKS, DONE, close=True)
    for _ in range(3):
        assert gateway.chat(stream=True).body == b"".join(CHUNKS) + DONE


def test_connections_to_the_engine_are_kept(gateway):
    gateway.chat()
    before = gateway.upstream.connections
    for _ in range(10):
        gateway.chat()
    assert gateway.upstream.connections == before


def test_answers_without_a_length_end_with_the_connection(gateway):
    async def reply(asked, writer):
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n" + json.dumps(chat_answer()).encode()
        )
        await writer.drain()
        writer.close()

    gateway.upstream.reply = reply
    assert gateway.chat().json == chat_answer()


# What goes wrong upstream.


def test_a_model_that_cannot_be_reached_is_503_with_retry_after(gateway):
    answer = gateway.chat(model="gone")
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) > 0
    assert answer.error["type"] == "server_error"
    assert "`gone`" in answer.error["message"]


def test_a_connection_lost_before_the_answer_is_tried_once_more(gateway):
    async def hang_up(asked, writer):
        writer.close()

    gateway.upstream.replies = [hang_up]
    assert gateway.chat().status == 200
    gateway.upstream.asked.clear()
    gateway.upstream.replies = [hang_up] * 10
    answer = gateway.chat()
    gateway.upstream.replies.clear()
    assert answer.status == 503
    assert len(gateway.upstream.asked) <= 3


def test_502_is_tried_once_more_and_then_503(gateway):
    bad = document(b"<html>502</html>", 502, content_type="text/html")
    gateway.upstream.replies = [bad]
    assert gateway.chat().status == 200
    gateway.upstream.asked.clear()
    gateway.upstream.replies = [bad, bad]
    answer = gateway.chat()
    assert (answer.status, len(gateway.upstream.asked)) == (503, 2)
    assert "retry-after" in answer.headers


@pytest.mark.parametrize(
    ("status", "body", "expected", "code"),
    [
        (503, b"<html>no targets</html>", 503, "model_unavailable"),
        (
            503,
            {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}},
            503,
            "model_unavailable",
        ),
        (504, b"", 503, "model_unavailable"),
        (404, b"not found", 503, "model_unavailable"),
        (401, {"error": {"message": "bad key"}}, 502, "provider_credentials_refused"),
        (500, {"error": {"message": "boom", "type": "server_error"}}, 500, "model_error"),
        (400, {"error": {"message": "bad grammar", "param": "grammar"}}, 400, "invalid_request"),
        (422, {"detail": [{"loc": ["body", "n"], "msg": "too big"}]}, 400, "invalid_request"),
        (
            400,
            {"object": "error", "message": "nope", "type": "BadRequestError", "param": None, "code": 400},
            400,
            "invalid_request",
        ),
        (429, {"error": {"message": "slow down"}}, 429, "rate_limit_exceeded"),
    ],
)
def test_errors_of_engines_get_one_shape(gateway, status, body, expected, code):
    gateway.upstream.reply = document(body, status)
    answer = gateway.chat()
    assert (answer.status, answer.error["code"]) == (expected, code)
    assert isinstance(answer.error["message"], str)
    assert answer.error["message"]
    assert ("retry-after" in answer.headers) == (expected in {429, 503})
    assert "www-authenticate" not in answer.headers


@pytest.mark.parametrize(
    "body",
    [
        {
            "error": {
                "code": 400,
                "type": "exceed_context_size_error",
                "n_prompt_tokens": 9000,
                "n_ctx": 4096,
                "message": "request (9000 tokens) exceeds the available context size (4096 tokens)",
            }
        },
        {
            "object": "error",
            "type": "BadRequestError",
            "code": 400,
            "param": None,
            "message": "This model's maximum context length is 4096 tokens. However, you requested 9000 tokens.",
        },
        {
            "error": {
                "type": "BadRequestError",
                "code": 400,
                "message": "This model's maximum context length is 4096 tokens. However, your prompt has 9000",
            }
        },
        {
            "error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. context length",
            "error_type": "validation",
        },
        {"error": {"code": "context_length_exceeded", "message": "limit 4096"}},
    ],
)
def test_a_prompt_that_is_too_long_says_the_limit(gateway, body):
    gateway.upstream.reply = document(body, 400)
    answer = gateway.chat()
    assert (answer.status, answer.error["code"]) == (400, "context_length_exceeded")
    assert answer.error["param"] == "messages"
    assert "4096" in answer.error["message"] or "2048" in answer.error["message"]
    gateway.upstream.reply = document(body, 400)
    anthropic = gateway.request(
        "POST", "/v1/messages", body={"model": "m", "messages": HELLO, "max_tokens": 5}
    )
    assert anthropic.json["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/", "/v2/serve/messages"])
def test_errors_on_messages_speak_anthropics_dialect_with_a_slash_at_the_end_too(gateway, path):
    answer = gateway.request("POST", path, body={"model": "nothing", "messages": HELLO, "max_tokens": 5})
    assert answer.status == 404
    assert answer.json["type"] == "error"
    assert answer.json["error"]["type"] == "not_found_error"


def test_a_stream_that_breaks_off_ends_with_an_error_event(gateway):
    async def reply(asked, writer):
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            b"%x\r\n%b\r\n" % (len(CHUNKS[0]), CHUNKS[0])
        )
        await writer.drain()
        writer.close()

    gateway.upstream.reply = reply
    answer = gateway.chat(stream=True)
    assert answer.body.startswith(CHUNKS[0])
    last = json.loads(answer.body.removeprefix(CHUNKS[0]).removeprefix(b"data: "))
    assert last["error"]["code"] == "model_unavailable"
    assert b"[DONE]" not in answer.body
    anthropic = gateway.request(
        "POST", "/v1/messages", body={"model": "m", "messages": HELLO, "max_tokens": 5, "stream": True}
    )
    assert b"event: error\n" in anthropic.body


def test_an_engine_that_does_not_speak_http_is_unavailable(gateway):
    async def reply(asked, writer):
        writer.write(b"SSH-2.0-OpenSSH\r\n\r\n")

    gateway.upstream.reply = reply
    assert gateway.chat().status == 503


def test_a_mistake_of_ours_is_a_500_in_the_same_shape_and_tells_nothing(gateway, monkeypatch):
    def broken(*args):
        raise ZeroDivisionError("internal detail")

    monkeypatch.setattr("lisa_gateway.gateway.check_fields", broken)
    answer = gateway.chat()
    assert (answer.status, answer.error["code"]) == (500, "internal")
    assert b"internal detail" not in answer.body
    assert answer.headers["x-request-id"]
    monkeypatch.undo()
    assert gateway.chat().status == 200


def test_a_stage_before_the_path_is_taken_off():
    with running(base_path="/prod") as gateway:
        assert gateway.chat(path="/prod/v1/chat/completions").status == 200
        assert gateway.chat(path="/prodv1/chat/completions").status == 404


def test_two_models_behind_one_address_are_told_apart_by_their_host():
    with running(routes=lambda port: [route("a", port=port), route("b", port=port)]) as gateway:
        for model in ("a", "b", "a"):
            gateway.chat(model=model)
        assert [asked.headers["host"] for asked in gateway.upstream.asked] == [
            "a.internal",
            "b.internal",
            "a.internal",
        ]
        assert gateway.upstream.connections == 1
        assert ISSUER.url
