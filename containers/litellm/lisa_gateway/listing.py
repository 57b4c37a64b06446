"""How models are listed: for OpenAI's, Anthropic's and upstream LISA's clients at once."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from lisa.errors import LisaError
from lisa.identity import Principal
from lisa.models.routes import HostedTarget

from lisa_gateway.answers import send_json
from lisa_gateway.catalogue import Catalogue, LiveRoute
from lisa_gateway.http.exchange import Exchange
from lisa_gateway.upstream_errors import unavailable

STARTING_RETRY_SECONDS = 5


class Listing:
    """Answers exchanges about models. What a caller may not use does not exist."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    async def models(self, exchange: Exchange, principal: Principal | None) -> None:
        send_json(exchange, model_documents(self._seen_by(principal)))

    async def model(self, exchange: Exchange, principal: Principal | None) -> None:
        model = unquote(exchange.path.rstrip("/").rsplit("/", 1)[-1])
        for live in self._seen_by(principal):
            if live.route.model_id == model:
                send_json(exchange, model_documents([live])["data"][0])
                return
        raise no_model(model)

    async def info(self, exchange: Exchange, principal: Principal | None) -> None:
        send_json(exchange, {"data": [model_info(live) for live in self._seen_by(principal)]})

    def _seen_by(self, principal: Principal | None) -> list[LiveRoute]:
        if principal is None:
            return []
        if not self._catalogue.loaded:
            raise starting()
        return [
            live
            for live in self._catalogue.routes.values()
            if live.route.state == "active" and principal.may_use(live.allowed)
        ]


def no_model(model: str) -> LisaError:
    return LisaError(
        f"The model `{model[:200]}` does not exist or you may not use it.",
        code="model_not_found",
        status=404,
        field="model",
    )


def starting() -> LisaError:
    return unavailable("The gateway is starting; try again.", STARTING_RETRY_SECONDS)


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
