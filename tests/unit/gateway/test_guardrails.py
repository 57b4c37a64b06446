"""Guardrails at the gateway: who is held to them, what they read, and what callers get instead."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from lisa.guardrails.definition import Guardrail
from lisa_gateway.endpoints import ENDPOINTS

from tests.unit.gateway.harness import (
    ADMIN,
    ALICE,
    BOB,
    DONE,
    HELLO,
    USAGE,
    Running,
    chat_answer,
    chunk,
    document,
    events,
    route,
    running,
)

MAIL = "jo.doe@example.org"
EMAILS = {"identifier": "builtin:pii", "kinds": ("email",)}


def guardrail(name: str = "no-mail", **changes: Any) -> Guardrail:
    return Guardrail(**{"name": name, **EMAILS, **changes})


PRE, POST = guardrail(), guardrail(mode="post_call")


@pytest.fixture(scope="module")
def shared() -> Iterator[Running]:
    def routes(port: int) -> list:
        everywhere = {"port": port, "guardrails": (PRE,)}
        return [
            route("m", port=port),
            route("pre", **everywhere),
            route("during", port=port, guardrails=(guardrail(mode="during_call"),)),
            route("mask", port=port, guardrails=(guardrail(action="mask"),)),
            route("team", port=port, guardrails=(guardrail(groups=("team-a",)),)),
            route("post", port=port, guardrails=(POST,)),
            route("postmask", port=port, guardrails=(guardrail(mode="post_call", action="mask"),)),
            route(
                "words",
                port=port,
                guardrails=(guardrail(identifier="builtin:patterns", kinds=(), patterns=("(?i)project x",)),),
            ),
            route(
                "slow",
                port=port,
                guardrails=(guardrail(identifier="builtin:patterns", kinds=(), patterns=("^(a|a)*$",)),),
            ),
            route(
                "broken",
                port=port,
                guardrails=(guardrail(identifier="builtin:patterns", kinds=(), patterns=("(",)),),
            ),
            route("unknown", port=port, guardrails=(guardrail(identifier="builtin:magic"),)),
            *(
                route(f"pre-{mode}", mode=mode, engine=engine, **everywhere)
                for mode, engine in (("embedding", "onnx"), ("rerank", "tei"))
            ),
            route("post-embedding", mode="embedding", engine="onnx", port=port, guardrails=(POST,)),
        ]

    with running(routes=routes) as value:
        yield value


def say(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


BODIES: dict[str, dict[str, Any]] = {
    "chat/completions": {"messages": say(f"write to {MAIL}")},
    "completions": {"prompt": f"write to {MAIL}"},
    "responses": {"input": f"write to {MAIL}"},
    "messages": {"messages": say(f"write to {MAIL}"), "max_tokens": 5},
    "messages/count_tokens": {"messages": say(f"write to {MAIL}")},
    "embeddings": {"input": ["x", f"write to {MAIL}"]},
    "rerank": {"query": "x", "documents": ["y", MAIL]},
}
MODELS = {"embeddings": "pre-embedding", "rerank": "pre-rerank"}


@pytest.mark.parametrize("name", BODIES)
def test_a_request_with_what_a_guardrail_looks_for_does_not_reach_the_model(gateway, name):
    # When
    answer = gateway.request("POST", f"/v1/{name}", body={"model": MODELS.get(name, "pre"), **BODIES[name]})

    # Then
    assert gateway.upstream.asked == []
    assert b"no-mail" in answer.body
    assert MAIL.encode() not in answer.body
    if name in ("chat/completions", "completions", "responses", "messages"):
        assert answer.status == 200
        assert answer.json["id"] == "guardrail-response"
        assert answer.json["lisa_guardrail_triggered"] is True
    else:
        assert answer.status == 400
    assert gateway.lines()[-1]["error"] == "guardrail_triggered"


def test_every_endpoint_that_takes_text_is_tried_here():
    told = {name for name, endpoint in ENDPOINTS.items() if not endpoint.multipart}
    # These two are tried in test_litellm.py, with external models.
    assert told - set(BODIES) == {"images/generations", "audio/speech"}


@pytest.mark.parametrize("name", ["chat/completions", "completions", "responses", "messages"])
def test_a_blocked_stream_is_a_whole_stream(gateway, name):
    answer = gateway.request("POST", f"/v1/{name}", body={"model": "pre", "stream": True, **BODIES[name]})
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    told = [line[6:] for line in answer.body.decode().splitlines() if line.startswith("data: ")]
    if name in ("responses", "messages"):
        first, last = (
            ("response.created", "response.completed")
            if name == "responses"
            else ("message_start", "message_stop")
        )
        assert [json.loads(told[0])["type"], json.loads(told[-1])["type"]] == [first, last]
    else:
        assert told[-1] == "[DONE]"
        assert len(told) == 3
        assert all(json.loads(each)["lisa_guardrail_triggered"] is True for each in told[:-1])
    assert "no-mail" in answer.body.decode()


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [{"role": "system", "content": MAIL}, *HELLO]},
        {"messages": [{"role": "assistant", "content": MAIL}, *HELLO]},
        {"messages": [*HELLO, {"role": "tool", "tool_call_id": "c", "content": MAIL}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": MAIL}]}]},
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "text", "text": "jo.doe@exam"}, {"type": "text", "text": "ple.org"}],
                }
            ]
        },
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "text", "text": MAIL}, {"type": "text", "text": "_x-9"}],
                }
            ]
        },
        {"messages": [{"role": "user", "name": MAIL, "content": "x"}]},
        {"messages": [{"role": MAIL, "content": "x"}]},
        {
            "messages": [
                {
                    "role": "assistant",
                    "tool_calls": [
                        {
                            "id": "c",
                            "type": "function",
                            "function": {"name": "f", "arguments": json.dumps({"to": MAIL})},
                        }
                    ],
                }
            ]
        },
        {"tools": [{"type": "function", "function": {"name": "f", "description": MAIL, "parameters": {}}}]},
        {
            "tools": [
                {
                    "type": "function",
                    "function": {"name": "f", "parameters": {"properties": {MAIL: {"type": "string"}}}},
                }
            ]
        },
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"const": MAIL}}}},
        {"stop": [MAIL]},
        {"chat_template_kwargs": {"hint": MAIL}},
    ],
)
def test_wherever_the_text_stands_it_is_read(gateway, fields):
    answer = gateway.chat(model="pre", **fields)
    assert answer.json.get("lisa_guardrail_triggered") is True, answer.body
    assert gateway.upstream.asked == []


def test_an_innocent_request_is_answered_as_without_a_guardrail(gateway):
    assert gateway.chat(model="pre").json == gateway.chat(model="m").json
    assert [asked.json["messages"] for asked in gateway.upstream.asked] == [HELLO, HELLO]


def test_during_call_is_as_strict_as_pre_call(gateway):
    assert gateway.chat(model="during", messages=say(MAIL)).json["lisa_guardrail_triggered"] is True
    assert gateway.upstream.asked == []


def test_a_mask_goes_to_the_model_in_place_of_what_was_found(gateway):
    # When
    answer = gateway.chat(
        model="mask",
        messages=[
            {
                "role": "user",
                "content": [{"type": "text", "text": "a jo.d"}, {"type": "text", "text": "oe@example.org b"}],
            }
        ],
    )

    # Then
    assert answer.status == 200
    parts = gateway.upstream.asked[0].json["messages"][0]["content"]
    assert [part["text"] for part in parts] == ["a [EMAIL]", " b"]


def test_the_name_of_a_field_cannot_be_masked_and_is_blocked(gateway):
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"properties": {MAIL: {}}}}}]
    assert gateway.chat(model="mask", tools=tools).json["lisa_guardrail_triggered"] is True


def test_a_guardrail_with_groups_is_for_their_members_only(gateway):
    assert (
        gateway.chat(model="team", token=ALICE, messages=say(MAIL)).json["lisa_guardrail_triggered"] is True
    )
    assert "lisa_guardrail_triggered" not in gateway.chat(model="team", token=BOB, messages=say(MAIL)).json


@pytest.mark.parametrize("token", [ALICE, BOB, ADMIN])
def test_a_guardrail_without_groups_is_for_everyone_even_administrators(gateway, token):
    assert gateway.chat(model="pre", token=token, messages=say(MAIL)).json["lisa_guardrail_triggered"] is True


def test_patterns_are_found(gateway):
    assert (
        gateway.chat(model="words", messages=say("about Project X")).json["lisa_guardrail_triggered"] is True
    )
    assert "lisa_guardrail_triggered" not in gateway.chat(model="words", messages=say("about projects")).json


@pytest.mark.parametrize(("model", "text"), [("slow", "a" * 60 + "b"), ("broken", "x"), ("unknown", "x")])
def test_a_guardrail_without_a_verdict_blocks(gateway, model, text):
    answer = gateway.chat(model=model, messages=say(text))
    assert (answer.status, answer.error["code"]) == (503, "guardrail_unavailable")
    assert "no-mail" in answer.error["message"]
    assert gateway.upstream.asked == []


@pytest.mark.parametrize(
    ("name", "model", "fields"),
    [
        ("completions", "pre", {"prompt": [1, 2]}),
        ("completions", "pre", {"prompt": [[1, 2]]}),
        ("embeddings", "pre-embedding", {"input": [1, 2]}),
        (
            "chat/completions",
            "pre",
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}],
                    }
                ]
            },
        ),
        (
            "messages",
            "pre",
            {
                "max_tokens": 5,
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image", "source": {"type": "base64", "data": "AA=="}}],
                    }
                ],
            },
        ),
        ("responses", "pre", {"input": "x", "previous_response_id": "resp_1"}),
        ("embeddings", "post-embedding", {"input": "x"}),
    ],
)
def test_what_no_guardrail_can_read_is_refused(gateway, name, model, fields):
    answer = gateway.request("POST", f"/v1/{name}", body={"model": model, **fields})
    assert answer.status == 400
    assert b"cannot read" in answer.body
    assert gateway.upstream.asked == []


def test_an_answer_with_what_a_guardrail_looks_for_is_not_sent(gateway):
    gateway.upstream.reply = document(chat_answer(f"ask {MAIL}"))
    answer = gateway.chat(model="post")
    assert answer.status == 200
    assert answer.json["lisa_guardrail_triggered"] is True
    assert MAIL.encode() not in answer.body
    # The tokens have been used, and are counted.
    assert answer.json["usage"]["total_tokens"] == 10


def test_an_answer_is_masked_and_so_is_what_repeats_it(gateway):
    told = chat_answer(f"ask {MAIL} now")
    told["choices"][0]["logprobs"] = {"content": [{"token": MAIL}]}
    gateway.upstream.reply = document(told)
    answer = gateway.chat(model="postmask")
    assert answer.json["choices"][0]["message"]["content"] == "ask [EMAIL] now"
    assert MAIL.encode() not in answer.body


PIECES = [
    chunk({"role": "assistant"}),
    chunk({"content": "ask jo.d"}),
    chunk({"content": "oe@exam"}),
    chunk({"content": "ple.org now"}),
    chunk({}, "stop"),
]


def test_a_streamed_answer_is_read_as_a_whole(gateway):
    gateway.upstream.reply = events(*PIECES, USAGE, DONE)
    answer = gateway.chat(model="post", stream=True)
    assert b"lisa_guardrail_triggered" in answer.body
    assert b"jo.d" not in answer.body
    assert answer.body.endswith(DONE)


def test_a_streamed_answer_is_masked_across_its_events(gateway):
    gateway.upstream.reply = events(*PIECES, USAGE, DONE)
    answer = gateway.chat(model="postmask", stream=True)
    told = [json.loads(line[6:]) for line in answer.body.decode().splitlines() if line.startswith("data: {")]
    assert "".join(each["choices"][0]["delta"].get("content", "") for each in told) == "ask [EMAIL] now"
    assert answer.body.endswith(DONE)


def test_an_innocent_stream_comes_as_it_would_without_a_guardrail(gateway):
    gateway.upstream.reply = events(
        chunk({"role": "assistant", "content": "hi"}), chunk({}, "stop"), USAGE, DONE
    )
    assert gateway.chat(model="post", stream=True).body == gateway.chat(model="m", stream=True).body


@pytest.mark.parametrize(
    "reply",
    [
        document(b"not json"),
        document(b"\x00\x01", content_type="audio/mpeg"),
        events(b"data: {not json\n\n", DONE),
        events(b"a line of no kind\n\n"),
        document({"data": [{"b64_json": "AA=="}]}),
    ],
)
def test_an_answer_that_cannot_be_read_is_not_sent(gateway, reply):
    gateway.upstream.reply = reply
    answer = gateway.chat(model="post")
    assert answer.status in (400, 503)
    assert answer.error["code"] in ("guardrail_unavailable", "guardrail_unreadable")


def test_tool_calls_of_an_answer_are_read(gateway):
    told = chat_answer("")
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": json.dumps({"to": MAIL})}}
    told["choices"][0]["message"]["tool_calls"] = [call]
    gateway.upstream.reply = document(told)
    assert gateway.chat(model="post").json["lisa_guardrail_triggered"] is True


def test_a_guardrail_takes_effect_without_a_restart(gateway):
    # Given
    gateway.put(route("new", port=gateway.upstream.port))
    assert "lisa_guardrail_triggered" not in gateway.chat(model="new", messages=say(MAIL)).json
    # When
    gateway.put(route("new", port=gateway.upstream.port, guardrails=(PRE,)))
    # Then
    assert gateway.chat(model="new", messages=say(MAIL)).json["lisa_guardrail_triggered"] is True
    gateway.store.remove("new")
    gateway.await_version()


@pytest.mark.parametrize("type_", [[], {}, 7, None])
def test_odd_types_of_parts_are_no_fault_of_ours(gateway, type_):
    content = [{"type": type_, "source": {"type": type_}, "text": "x"}]
    assert gateway.chat(model="pre", messages=[{"role": "user", "content": content}]).status == 200


def test_a_text_too_long_to_be_read_in_time_is_not_let_through(gateway):
    answer = gateway.chat(model="pre", messages=say("word " * 250_000))
    assert (answer.status, answer.error["code"]) == (503, "guardrail_unavailable")
    assert gateway.upstream.asked == []
