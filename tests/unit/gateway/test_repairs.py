"""llama.cpp announces a stream with its first token, and loses the announcement when that is a part of a character."""

import json

import pytest
from lisa_gateway.repairs import ChatRepair

from tests.unit.gateway.harness import DONE, HELLO, chunk, document, events, running


def event(kind, **fields):
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields}, separators=(',', ':'))}\n\n".encode()


BLOCK = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
DELTA = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "🌟"})
END = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 5})
START = event("message_start", message={"id": "x", "usage": {"input_tokens": 7, "output_tokens": 0}})
BODY = {"model": "m", "max_tokens": 9, "stream": True, "messages": HELLO, "system": "Be kind"}


def stream_of(*upstream, count=None):
    """What a caller gets of this stream, and what the engine was asked."""
    with running() as gateway:
        gateway.upstream.replies = [events(*upstream), count or document({"input_tokens": 21})]
        answer = gateway.request("POST", "/v1/messages", body=BODY)
        gateway.access_log.flush()
        line = next(line for line in gateway.log.getvalue().splitlines() if b"/v1/messages" in line)
        return answer.body, gateway.upstream.asked, json.loads(line)


@pytest.mark.parametrize(
    "pieces", [(BLOCK, DELTA, END), (BLOCK + DELTA + END,), (BLOCK[:9], BLOCK[9:] + DELTA, END)]
)
def test_a_lost_message_start_is_put_back_with_the_prompts_length(pieces):
    # When
    body, asked, line = stream_of(*pieces)
    # Then
    first, *rest = body.split(b"\n\n")
    started = json.loads(first.split(b"data: ")[1])
    assert started["type"] == "message_start"
    assert started["message"]["usage"] == {"input_tokens": 21, "output_tokens": 0}
    assert started["message"]["model"] == "m"
    assert b"\n\n".join(rest) == BLOCK + DELTA + END
    assert asked[1].path == "/v1/messages/count_tokens"
    assert asked[1].json == {"model": "m", "messages": HELLO, "system": "Be kind"}
    assert (line["promptTokens"], line["completionTokens"]) == (21, 5)


def test_a_stream_that_announces_itself_passes_as_it_is():
    body, asked, line = stream_of(START, BLOCK, DELTA, END)
    assert body == START + BLOCK + DELTA + END
    assert len(asked) == 1
    assert (line["promptTokens"], line["completionTokens"]) == (7, 5)


def test_an_error_at_the_start_of_a_stream_is_not_dressed_up():
    error = event("error", error={"type": "api_error", "message": "no"})
    body, asked, _ = stream_of(error)
    assert body == error
    assert len(asked) == 1


def test_a_stream_whose_prompt_cannot_be_counted_says_that_it_is_broken():
    body, _, _ = stream_of(BLOCK, DELTA, END, count=document({"error": "no"}, 500))
    assert b"message_start" not in body
    assert body.startswith(b"event: error\n")


def deltas(data):
    lines = [json.loads(line[6:]) for line in data.split(b"\n") if line.startswith(b"data: {")]
    return [choice for line in lines for choice in line["choices"]]


def test_the_first_delta_of_each_choice_says_who_speaks():
    # Given
    second = chunk({"content": "b"}).replace(b'"index":0', b'"index":1')
    repair = ChatRepair({"n": 2, "stream": True})
    # When
    out = (
        repair.events(chunk({"content": "a"}))
        + repair.events(second + chunk({"content": "c"}))
        + repair.events(DONE)
    )
    # Then
    roles = [choice["delta"].get("role") for choice in deltas(out)]
    assert roles == ["assistant", "assistant", None]
    assert out.endswith(DONE)


def test_a_stream_whose_first_delta_is_complete_is_not_changed():
    repair = ChatRepair({"stream": True})
    whole = [chunk({"role": "assistant", "content": ""}), chunk({"content": "a"}), DONE]
    assert [repair.events(piece) for piece in whole] == whole
