"""Answers of `/v1/chat/completions` to a request with `file_search`: an extension of OpenAI's interface.

Each message carries `annotations` as those of `/v1/responses` do, in a stream its closing delta; beside the choices
stands the `file_search_call` with all results.
"""

from typing import Any

import orjson

from lisa_gateway.repairs import Repair
from lisa_gateway.retrieval.file_search.citations import annotations
from lisa_gateway.retrieval.searching import Found
from lisa_gateway.sse import MAX_EVENT_BYTES


class ChatCiting:
    """Stands before the repair of an engine's answer, where there is one. `call` is the `file_search_call`."""

    def __init__(self, inner: Repair | None, call: dict[str, Any], shown: list[Found]) -> None:
        self._inner = inner
        self._call = call
        self._shown = shown
        self._texts: dict[int, list[str]] = {}
        self._told = False

    def document(self, body: bytes) -> bytes:
        if self._inner is not None:
            body = self._inner.document(body)
        answer = orjson.loads(body)
        for choice in answer.get("choices") or ():
            message = choice.get("message")
            if isinstance(message, dict):
                message["annotations"] = annotations(message.get("content") or "", self._shown)
        answer["file_search_call"] = self._call
        return orjson.dumps(answer)

    def events(self, data: bytes) -> bytes:
        if self._inner is not None:
            data = self._inner.events(data)
        return b"".join(self._event(event) + b"\n\n" for event in data.split(b"\n\n") if event.strip())

    def _event(self, event: bytes) -> bytes:
        if not event.startswith(b"data:") or len(event) > MAX_EVENT_BYTES:
            return event
        try:
            chunk = orjson.loads(event[5:])
        except orjson.JSONDecodeError:  # [DONE]
            return event
        changed = False
        for choice in chunk.get("choices") or ():
            index, delta = choice.get("index", 0), choice.get("delta")
            if not isinstance(delta, dict):
                continue
            if delta.get("content"):
                self._texts.setdefault(index, []).append(delta["content"])
            if choice.get("finish_reason"):
                text = "".join(self._texts.pop(index, ()))
                choice["delta"] = {**delta, "annotations": annotations(text, self._shown)}
                changed = True
        if not changed:
            return event
        if not self._told:
            self._told = True
            chunk["file_search_call"] = self._call
        return b"data: " + orjson.dumps(chunk)
