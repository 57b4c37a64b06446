"""Streams of `/v1/messages`: they begin with `message_start`, which holds the prompt's length."""

import re
from typing import Any

import orjson

_FIRST_BLOCK = re.compile(rb"^(?:event: content_block_start\n|data: \{\"type\":\"content_block_start\")")
# What the length of a prompt depends on.
_COUNTED = ("model", "messages", "system", "tools", "tool_choice", "thinking")


class MessagesRepair:
    """The answer to one streamed request, given as `request`."""

    def __init__(self, request: dict[str, Any], request_id: str) -> None:
        self._model = request.get("model")
        self._id = "msg_" + request_id
        self.count_request = orjson.dumps({name: request[name] for name in _COUNTED if name in request})

    def document(self, body: bytes) -> bytes:
        return body

    def events(self, data: bytes) -> bytes:
        return data

    @staticmethod
    def lacks_start(beginning: bytes) -> bool:
        """Whether a stream that begins so has lost its `message_start`. An error or a ping needs none."""
        return _FIRST_BLOCK.match(beginning) is not None

    def start(self, input_tokens: int) -> bytes:
        """The event that is missing."""
        message: dict[str, Any] = {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "content": [],
            "model": self._model,
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": input_tokens, "output_tokens": 0},
        }
        event = {"type": "message_start", "message": message}
        return b"event: message_start\ndata: " + orjson.dumps(event) + b"\n\n"
