"""Answers of `/v1/responses` to a request with `file_search`, as OpenAI gives them.

The search is the first item of the output. In a stream its events come before the model's first item, and every later
event moves by as many places.
"""

from collections.abc import Iterator
from typing import Any

import orjson

from lisa_gateway.repairs import Repair
from lisa_gateway.retrieval.file_search.citations import annotations
from lisa_gateway.retrieval.searching import Found

_BEFORE = frozenset({"response.created", "response.queued", "response.in_progress"})


class ResponsesCiting:
    """Stands before the repair of an engine's answer, where there is one.

    `call` is the `file_search_call`; `echoed` are fields of the request that the answer repeats.
    """

    def __init__(
        self, inner: Repair | None, call: dict[str, Any], shown: list[Found], echoed: dict[str, Any]
    ) -> None:
        self._inner = inner
        self._call = call
        self._shown = shown
        self._echoed = echoed
        self._sequence = 0
        self._searched = False

    def document(self, body: bytes) -> bytes:
        if self._inner is not None:
            body = self._inner.document(body)
        return orjson.dumps(self._complete(orjson.loads(body)))

    def events(self, data: bytes) -> bytes:
        if self._inner is not None:
            data = self._inner.events(data)
        return b"".join(self._event(event) for event in data.split(b"\n\n") if event.strip())

    def _event(self, raw: bytes) -> bytes:
        data = b"\n".join(line[5:].strip() for line in raw.split(b"\n") if line.startswith(b"data:"))
        try:
            event = orjson.loads(data)
        except orjson.JSONDecodeError:  # a comment, or [DONE]
            return raw + b"\n\n"
        if not isinstance(event, dict) or "type" not in event:
            return raw + b"\n\n"
        return b"".join(self._written(each) for each in self._placed(event))

    def _written(self, event: dict[str, Any]) -> bytes:
        event["sequence_number"] = self._sequence
        self._sequence += 1
        return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(event))

    def _placed(self, event: dict[str, Any]) -> Iterator[dict[str, Any]]:
        kind = event["type"]
        if not self._searched and kind not in _BEFORE and kind != "error":
            self._searched = True
            yield from self._search()
        if isinstance(event.get("output_index"), int):
            event["output_index"] += 1
        if isinstance(event.get("response"), dict):
            event["response"] = self._complete(event["response"])
        if isinstance(event.get("item"), dict):
            self._annotate(event["item"])
        if isinstance(event.get("part"), dict):
            self._cite(event["part"])
        if kind == "response.output_text.done":
            for number, annotation in enumerate(annotations(event.get("text") or "", self._shown)):
                yield {
                    "type": "response.output_text.annotation.added",
                    "item_id": event.get("item_id"),
                    "output_index": event.get("output_index"),
                    "content_index": event.get("content_index", 0),
                    "annotation_index": number,
                    "annotation": annotation,
                }
        yield event

    def _search(self) -> Iterator[dict[str, Any]]:
        place = {"output_index": 0, "item_id": self._call["id"]}
        begun = {**self._call, "status": "in_progress", "queries": [], "results": None}
        yield {"type": "response.output_item.added", "output_index": 0, "item": begun}
        for state in ("in_progress", "searching", "completed"):
            yield {"type": f"response.file_search_call.{state}", **place}
        yield {"type": "response.output_item.done", "output_index": 0, "item": self._call}

    def _complete(self, response: dict[str, Any]) -> dict[str, Any]:
        output = response.get("output") or []
        for item in output:
            self._annotate(item)
        if response.get("status") not in ("in_progress", "queued"):
            response["output"] = [self._call, *output]
        return {**response, **self._echoed}

    def _annotate(self, item: dict[str, Any]) -> None:
        if item.get("type") == "message":
            for part in item.get("content") or []:
                self._cite(part)

    def _cite(self, part: dict[str, Any]) -> None:
        if part.get("type") == "output_text":
            part["annotations"] = annotations(part.get("text") or "", self._shown)
