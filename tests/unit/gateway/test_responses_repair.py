"""Answers of llama.cpp to `/v1/responses` become what OpenAI's own client accepts."""

import orjson
from lisa_gateway.repairs.responses import ResponsesRepair
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

MESSAGE = {"type": "message", "status": "completed", "id": "msg_1", "role": "assistant",
           "content": [{"type": "output_text", "text": "Hi"}]}  # fmt: skip
ANSWER = {"id": "resp_1", "object": "response", "created_at": 7, "status": "completed", "model": "m",
          "output": [MESSAGE], "usage": {"input_tokens": 3, "output_tokens": 1, "total_tokens": 4,
                                         "input_tokens_details": {"cached_tokens": 2}}}  # fmt: skip
STREAM = [
    {"type": "response.created", "response": {"id": "resp_1", "object": "response", "status": "in_progress"}},
    {"type": "response.output_item.added", "item": {**MESSAGE, "status": "in_progress", "content": []}},
    {"type": "response.content_part.added", "item_id": "msg_1", "part": {"type": "output_text", "text": ""}},
    {"type": "response.output_text.delta", "item_id": "msg_1", "delta": "Hi"},
    {"type": "response.output_text.done", "item_id": "msg_1", "text": "Hi"},
    {"type": "response.output_item.done", "item": MESSAGE},
    {"type": "response.completed", "response": ANSWER, "timings": {"cache_n": 1}},
]


def test_a_whole_answer_has_every_field_and_repeats_the_request():
    # Given
    tools = [{"type": "function", "name": "f", "parameters": {}, "strict": True}]
    repair = ResponsesRepair({"model": "m", "input": "x", "tools": tools, "temperature": 0.2}, 9)
    # When
    completed = Response.model_validate_json(repair.document(orjson.dumps(ANSWER)), strict=False)
    # Then
    assert completed.tools[0].name == "f"
    assert completed.temperature == 0.2
    assert completed.tool_choice == "auto"
    assert completed.created_at == 7
    assert completed.usage.input_tokens_details.cached_tokens == 2
    assert completed.usage.output_tokens_details.reasoning_tokens == 0


def test_a_stream_has_its_places_wherever_it_is_cut():
    # Given
    wire = b"".join(b"event: %b\ndata: %b\n\n" % (e["type"].encode(), orjson.dumps(e)) for e in STREAM)
    events = wire.split(b"\n\n")[:-1]
    check = TypeAdapter(ResponseStreamEvent)
    for pieces in ([wire], [event + b"\n\n" for event in events]):
        repair = ResponsesRepair({"model": "m", "input": "x"}, 9)
        # When
        out = b"".join(repair.events(piece) for piece in pieces)
        # Then
        lines = [line[6:] for line in out.split(b"\n") if line.startswith(b"data: ")]
        parsed = [check.validate_json(line) for line in lines]
        assert [event.type for event in parsed] == [event["type"] for event in STREAM]
        assert [event.sequence_number for event in parsed] == list(range(len(STREAM)))
        assert parsed[3].output_index == parsed[3].content_index == 0
        assert b"timings" not in out


def test_what_is_no_json_passes_as_it_is():
    repair = ResponsesRepair({"model": "m"}, 9)
    assert repair.document(b"<html>") == b"<html>"
    assert repair.events(b": ping\n\ndata: [DONE]\n\n") == b": ping\n\ndata: [DONE]\n\n"
