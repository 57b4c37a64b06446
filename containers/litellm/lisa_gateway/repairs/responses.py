"""Completes what llama.cpp leaves out of `/v1/responses`, so that clients that check what they read accept it.

Its answers lack fields that OpenAI's interface requires: what the request set (tools, sampling), details of the usage,
and in streams the place of each event (sequence number, output and content index).
"""

from typing import Any

import orjson

# What an answer repeats of its request, with OpenAI's defaults.
_ECHOED: dict[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "temperature": 1.0,
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}
_INSIDE_AN_ITEM = frozenset({
    "response.content_part.added",
    "response.content_part.done",
    "response.output_text.delta",
    "response.output_text.done",
    "response.output_text.annotation.added",
    "response.refusal.delta",
    "response.refusal.done",
    "response.reasoning_text.delta",
    "response.reasoning_text.done",
})  # fmt: skip
_WITH_LOGPROBS = frozenset({"response.output_text.delta", "response.output_text.done"})


class ResponsesRepair:
    """The answer to one request, given as `request`."""

    def __init__(self, request: dict[str, Any], created: int) -> None:
        self._model = request.get("model")
        self._created = created
        self._echoed = {
            name: request[name] if request.get(name) is not None else default
            for name, default in _ECHOED.items()
        }
        self._sequence = 0
        self._items: list[str] = []

    def document(self, body: bytes) -> bytes:
        """A whole answer; what is not JSON stays as it is."""
        try:
            response = orjson.loads(body)
        except orjson.JSONDecodeError:
            return body
        return orjson.dumps(self._complete(response)) if isinstance(response, dict) else body

    def events(self, data: bytes) -> bytes:
        """Some whole events of a stream, in order."""
        return b"".join(self._event(event) for event in data.split(b"\n\n") if event.strip())

    def _event(self, event: bytes) -> bytes:
        lines = event.split(b"\n")
        for position, line in enumerate(lines):
            if line.startswith(b"data:"):
                try:
                    document = orjson.loads(line[5:])
                except orjson.JSONDecodeError:
                    break
                lines[position] = b"data: " + orjson.dumps(self._place(document))
        return b"\n".join(lines) + b"\n\n"

    def _place(self, event: dict[str, Any]) -> dict[str, Any]:
        kind = event.get("type", "")
        if isinstance(event.get("response"), dict):
            event["response"] = self._complete(event["response"])
        item = event.get("item")
        item_id = item.get("id") if isinstance(item, dict) else event.get("item_id")
        if isinstance(item, dict) and item.get("type") == "message":
            _complete_parts(item)
        if isinstance(event.get("part"), dict):
            _complete_part(event["part"])
        if item_id is not None:
            if item_id not in self._items:
                self._items.append(item_id)
            event.setdefault("output_index", self._items.index(item_id))
        if kind in _INSIDE_AN_ITEM:
            event.setdefault("content_index", 0)
        if kind in _WITH_LOGPROBS:
            event.setdefault("logprobs", [])
        event.setdefault("sequence_number", self._sequence)
        self._sequence += 1
        event.pop("timings", None)
        return event

    def _complete(self, response: dict[str, Any]) -> dict[str, Any]:
        completed: dict[str, Any] = {"created_at": self._created, "error": None, "incomplete_details": None}
        completed |= {"model": self._model, "output": [], **self._echoed, **response}
        for item in completed["output"]:
            if item.get("type") == "message":
                _complete_parts(item)
        usage = completed.get("usage")
        if isinstance(usage, dict):
            given = {"cached_tokens": 0, "cache_write_tokens": 0, **(usage.get("input_tokens_details") or {})}
            made = {"reasoning_tokens": 0, **(usage.get("output_tokens_details") or {})}
            completed["usage"] = {**usage, "input_tokens_details": given, "output_tokens_details": made}
        completed.pop("timings", None)
        return completed


def _complete_parts(item: dict[str, Any]) -> None:
    for part in item.get("content") or []:
        _complete_part(part)


def _complete_part(part: dict[str, Any]) -> None:
    if part.get("type") == "output_text":
        part.setdefault("annotations", [])
        part.setdefault("logprobs", [])
