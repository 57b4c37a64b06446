"""What llama.cpp leaves out of its answers, put back for clients that check what they read.

Its streams announce themselves (`message_start`, the first delta's `role`) with the first token. When that token is
only a part of a character, as every emoji's first token is, it is held back and the announcement is lost.
"""

from typing import Any, Protocol

from lisa_gateway.repairs.chat import ChatRepair
from lisa_gateway.repairs.messages import MessagesRepair
from lisa_gateway.repairs.responses import ResponsesRepair

__all__ = ["ChatRepair", "MessagesRepair", "Repair", "ResponsesRepair", "repair_for"]


class Repair(Protocol):
    """Completes the answer to one request."""

    def document(self, body: bytes) -> bytes:
        """A whole answer."""

    def events(self, data: bytes) -> bytes:
        """Some whole events of a stream, in order."""


def repair_for(endpoint: str, request: dict[str, Any], *, request_id: str, created: int) -> Repair | None:
    """What this endpoint's answers of llama.cpp need; None when nothing is known to be missing."""
    if endpoint == "responses":
        return ResponsesRepair(request, created)
    if request.get("stream") is not True:
        return None
    if endpoint == "messages":
        return MessagesRepair(request, request_id)
    if endpoint == "chat/completions":
        return ChatRepair(request)
    return None
