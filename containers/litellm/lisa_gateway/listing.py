"""How models are listed: for OpenAI's, Anthropic's and upstream LISA's clients at once."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from lisa.models.routes import HostedTarget

from lisa_gateway.catalogue import LiveRoute


def model_documents(routes: Sequence[LiveRoute]) -> dict[str, Any]:
    """The list of models; each item has the fields of both OpenAI's and Anthropic's API."""
    data = [_document(live) for live in sorted(routes, key=lambda live: live.route.model_id)]
    return {
        "object": "list",
        "data": data,
        "has_more": False,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
    }


def _document(live: LiveRoute) -> dict[str, Any]:
    route = live.route
    created = int(route.created_at)
    return {
        "id": route.model_id,
        "object": "model",
        "created": created,
        "owned_by": "lisa",
        "type": "model",
        "display_name": route.model_id,
        "created_at": datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def model_info(live: LiveRoute) -> dict[str, Any]:
    """What upstream LISA's SDK reads: never an address or a key."""
    route = live.route
    hosted = isinstance(route.target, HostedTarget)
    return {
        "model_name": route.model_id,
        "litellm_params": {"model": f"openai/{route.model_name}" if hosted else route.model_name},
        "model_info": {
            "id": route.model_id,
            "mode": route.mode,
            "max_input_tokens": route.context_window,
            "hosting": "lisa" if hosted else "external",
        },
    }
