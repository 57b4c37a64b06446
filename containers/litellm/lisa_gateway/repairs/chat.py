"""Streams of `/v1/chat/completions`: each choice's first delta says who speaks."""

from typing import Any

import orjson


class ChatRepair:
    """The answer to one streamed request, given as `request`."""

    def __init__(self, request: dict[str, Any]) -> None:
        self._awaited = request.get("n") or 1
        self._seen: set[int] = set()

    def document(self, body: bytes) -> bytes:
        return body

    def events(self, data: bytes) -> bytes:
        if len(self._seen) >= self._awaited:
            return data  # the rest of a stream: bytes as they come
        return b"".join(self._event(event) + b"\n\n" for event in data.split(b"\n\n") if event.strip())

    def _event(self, event: bytes) -> bytes:
        if not event.startswith(b"data:"):
            return event
        try:
            chunk = orjson.loads(event[5:])
        except orjson.JSONDecodeError:  # [DONE]
            return event
        changed = False
        for choice in chunk.get("choices") or ():
            index, delta = choice.get("index", 0), choice.get("delta")
            if index in self._seen or not isinstance(delta, dict):
                continue
            self._seen.add(index)
            if "role" not in delta:
                choice["delta"] = {"role": "assistant", **delta}
                changed = True
        return b"data: " + orjson.dumps(chunk) if changed else event
