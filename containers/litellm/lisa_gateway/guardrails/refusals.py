"""What a caller gets in place of a blocked answer: upstream's shape, in the endpoint's dialect."""

import time
from typing import Any

import orjson
from lisa.errors import LisaError

from lisa_gateway.answers import JSON
from lisa_gateway.endpoints import Endpoint
from lisa_gateway.http.exchange import Exchange

ID = "guardrail-response"
TRIGGERED = {"lisa_guardrail_triggered": True}
_EVENTS = b"content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"


def send_blocked(
    exchange: Exchange, endpoint: Endpoint, request: dict[str, Any], guardrail: str, what: str
) -> None:
    """Answers 200 with a completion that says who blocked it; raises a 400 where there are no completions.

    The text never holds what was found.
    """
    text = f"This {what} was blocked by the guardrail `{guardrail}`."
    make = _COMPLETIONS.get(endpoint.name)
    if make is None:
        raise LisaError(text, code="guardrail_triggered", status=400)
    exchange.error = "guardrail_triggered"
    stream = request.get("stream") is True
    usage = exchange.usage or (0, 0)
    events = make(text, str(request.get("model")), usage, stream)
    if not stream:
        exchange.reply(200, JSON, orjson.dumps(events[0]))
        return
    exchange.start(200, _EVENTS)
    if endpoint.name in ("responses", "messages"):
        pieces = [b"event: %b\ndata: %b\n\n" % (e["type"].encode(), orjson.dumps(e)) for e in events]
    else:
        pieces = [b"data: %b\n\n" % orjson.dumps(event) for event in events] + [b"data: [DONE]\n\n"]
    exchange.write(b"".join(pieces))
    exchange.finish()


def _openai_usage(usage: tuple[int, int]) -> dict[str, int]:
    return {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}


def _chat(text: str, model: str, usage: tuple[int, int], stream: bool) -> list[dict[str, Any]]:
    kind = "chat.completion.chunk" if stream else "chat.completion"
    head = {"id": ID, "object": kind, "created": int(time.time()), "model": model, **TRIGGERED}
    message = {"role": "assistant", "content": text}
    if not stream:
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        return [{**head, "choices": [choice], "usage": _openai_usage(usage)}]
    return [
        {**head, "choices": [{"index": 0, "delta": message, "finish_reason": None}]},
        {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    ]


def _completion(text: str, model: str, usage: tuple[int, int], stream: bool) -> list[dict[str, Any]]:
    head = {"id": ID, "object": "text_completion", "created": int(time.time()), "model": model, **TRIGGERED}
    if not stream:
        choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": "stop"}
        return [{**head, "choices": [choice], "usage": _openai_usage(usage)}]
    return [
        {**head, "choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": None}]},
        {**head, "choices": [{"index": 0, "text": "", "logprobs": None, "finish_reason": "stop"}]},
    ]


def _response(text: str, model: str, usage: tuple[int, int], stream: bool) -> list[dict[str, Any]]:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    empty = {**part, "text": ""}
    item = {
        "id": f"{ID}-message",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [part],
    }
    begun = {**item, "status": "in_progress", "content": []}
    whole = {
        "id": ID, "object": "response", "created_at": int(time.time()), "model": model, "status": "completed",
        "output": [item], "error": None, "incomplete_details": None, "instructions": None, "metadata": {},
        "parallel_tool_calls": True, "temperature": 1.0, "top_p": 1.0, "tool_choice": "auto", "tools": [],
        "usage": {
            "input_tokens": usage[0], "output_tokens": usage[1], "total_tokens": sum(usage),
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        },
        **TRIGGERED,
    }  # fmt: skip
    if not stream:
        return [whole]
    started = {**whole, "status": "in_progress", "output": [], "usage": None}
    of_item = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": started},
        {"type": "response.output_item.added", "output_index": 0, "item": begun},
        {"type": "response.content_part.added", **of_item, "part": empty},
        {"type": "response.output_text.delta", **of_item, "delta": text, "logprobs": []},
        {"type": "response.output_text.done", **of_item, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **of_item, "part": part},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": whole},
    ]
    return [{**event, "sequence_number": number, **TRIGGERED} for number, event in enumerate(events)]


def _message(text: str, model: str, usage: tuple[int, int], stream: bool) -> list[dict[str, Any]]:
    whole = {
        "id": ID, "type": "message", "role": "assistant", "model": model,
        "content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "stop_sequence": None,
        "usage": {"input_tokens": usage[0], "output_tokens": usage[1]}, **TRIGGERED,
    }  # fmt: skip
    if not stream:
        return [whole]
    started = {
        **whole,
        "content": [],
        "stop_reason": None,
        "usage": {"input_tokens": usage[0], "output_tokens": 0},
    }
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": started},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": usage[1]},
        },
        {"type": "message_stop"},
    ]
    return [{**event, **TRIGGERED} for event in events]


_COMPLETIONS = {
    "chat/completions": _chat,
    "completions": _completion,
    "responses": _response,
    "messages": _message,
}
