"""Routes: what the gateway needs to call a model, and the catalogue version by which it sees that they changed.

All of it lies in the models table: `ROUTE/<model id>`, one counter `CATALOGUE/VERSION` that grows in the same
transaction as any route, and `GATEWAY/<instance>` by which each gateway says which version it has loaded.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lisa import dynamo
from lisa.errors import Conflict
from lisa.guardrails.definition import Guardrail

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

Mode = Literal[
    "chat",
    "completion",
    "embedding",
    "image_generation",
    "audio_speech",
    "audio_transcription",
    "rerank",
]
RouteState = Literal["starting", "active", "stopped"]

LIVE_SECONDS = 30  # a gateway that has not been seen for so long routes nothing any more
FORGET_SECONDS = 3600  # and its item goes after this (the table's time to live)

_VERSION_KEY = dynamo.key("CATALOGUE", "VERSION")


@dataclass(frozen=True, slots=True)
class HostedTarget:
    """A model behind our own load balancer, found there by its host header."""

    engine: str
    base_url: str
    host_header: str


@dataclass(frozen=True, slots=True)
class ProviderTarget:
    """A model of an external provider, called through LiteLLM; the key is named, never held."""

    model: str
    api_base: str | None = None
    secret_arn: str | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """One model as the gateway sees it; `created_at` is in seconds since the epoch."""

    model_id: str
    model_name: str
    model_type: str
    mode: Mode
    hosting_type: str
    state: RouteState
    target: HostedTarget | ProviderTarget
    allowed_groups: tuple[str, ...] = ()
    context_window: int | None = None
    created_at: int = 0
    guardrails: tuple[Guardrail, ...] = ()


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway task and the catalogue version that it serves; `seen_at` in seconds since the epoch."""

    instance_id: str
    version: int
    seen_at: float


class RouteStore:
    """The routes in the models table. `client` is a low-level DynamoDB client."""

    def __init__(
        self, table_name: str, client: "DynamoDBClient", *, clock: Callable[[], float] = time.time
    ) -> None:
        self._table = table_name
        self._client = client
        self._clock = clock

    def version(self) -> int:
        """The catalogue's version; 0 before the first route."""
        answer = self._client.get_item(TableName=self._table, Key=_VERSION_KEY, ConsistentRead=True)
        item = answer.get("Item")
        return int(item["version"]["N"]) if item else 0

    def routes(self) -> tuple[int, list[Route]]:
        """All routes, and a version that they are at least as new as.

        The version is read first: a change in between shows at the next look and is loaded again.
        """
        version = self.version()
        return version, [_route(item) for item in self._partition("ROUTE")]

    def route(self, model_id: str) -> Route | None:
        answer = self._client.get_item(TableName=self._table, Key=_route_key(model_id), ConsistentRead=True)
        item = answer.get("Item")
        return _route(dynamo.from_item(item)) if item else None

    def put(self, route: Route, *, generation: int | None = None) -> int:
        """Stores the route and returns a catalogue version that contains it.

        With `generation`, only while the model's row is of this generation: raises Conflict otherwise, so that a
        workflow overtaken by a delete cannot bring the route back.
        """
        item = dynamo.to_item(_item(route))
        changes: list[Any] = [
            {"Put": {"TableName": self._table, "Item": item}},
            dynamo.grow(self._table, _VERSION_KEY),
        ]
        if generation is not None:
            changes.append(self._unless_overtaken(route.model_id, generation))
        try:
            self._client.transact_write_items(TransactItems=changes)
        except self._client.exceptions.TransactionCanceledException as error:
            reasons = error.response.get("CancellationReasons", [])
            if any(reason.get("Code") == "ConditionalCheckFailed" for reason in reasons):
                raise Conflict(f"There is a newer wish for the model {route.model_id!r}.") from None
            raise
        return self.version()

    def remove(self, model_id: str) -> int:
        """Removes the route, if it is there, and returns a catalogue version that does not contain it."""
        if self.route(model_id) is not None:
            self._client.transact_write_items(
                TransactItems=[
                    {"Delete": {"TableName": self._table, "Key": _route_key(model_id)}},
                    dynamo.grow(self._table, _VERSION_KEY),
                ]
            )
        return self.version()

    def acknowledge(self, instance_id: str, version: int) -> None:
        """A gateway says which version it has loaded, and that it is alive."""
        now = self._clock()
        self._client.put_item(
            TableName=self._table,
            Item={
                "pk": {"S": "GATEWAY"},
                "sk": {"S": instance_id},
                "version": {"N": str(version)},
                "seenAt": {"N": f"{now:.3f}"},
                "expiresAt": {"N": str(int(now) + FORGET_SECONDS)},
            },
        )

    def leave(self, instance_id: str) -> None:
        """A gateway that stops says so: nobody has to wait until it counts as dead."""
        self._client.delete_item(
            TableName=self._table, Key={"pk": {"S": "GATEWAY"}, "sk": {"S": instance_id}}
        )

    def live_gateways(self) -> list[Gateway]:
        """The gateways seen within the last 30 seconds."""
        oldest = self._clock() - LIVE_SECONDS
        found = (
            Gateway(item["sk"], int(item["version"]), float(item["seenAt"]))
            for item in self._partition("GATEWAY")
        )
        return [gateway for gateway in found if gateway.seen_at >= oldest]

    def acknowledged(self, version: int) -> bool:
        """Whether every live gateway serves this version or a later one."""
        return all(gateway.version >= version for gateway in self.live_gateways())

    def _partition(self, name: str) -> list[dict[str, Any]]:
        return dynamo.page(self._client, self._table, name)[0]

    def _unless_overtaken(self, model_id: str, generation: int) -> Any:
        return {
            "ConditionCheck": {
                "TableName": self._table,
                "Key": dynamo.key("MODEL", model_id),
                "ConditionExpression": "generation = :generation",
                "ExpressionAttributeValues": {":generation": {"N": str(generation)}},
            }
        }


def _route_key(model_id: str) -> dict[str, Any]:
    return dynamo.key("ROUTE", model_id)


def _item(route: Route) -> dict[str, Any]:
    target = route.target
    if isinstance(target, HostedTarget):
        where: dict[str, Any] = {
            "kind": "hosted",
            "engine": target.engine,
            "baseUrl": target.base_url,
            "hostHeader": target.host_header,
        }
    else:
        where = {
            "kind": "litellm",
            "model": target.model,
            "apiBase": target.api_base,
            "secretArn": target.secret_arn,
        }
    return {
        "pk": "ROUTE",
        "sk": route.model_id,
        "modelId": route.model_id,
        "modelName": route.model_name,
        "modelType": route.model_type,
        "mode": route.mode,
        "hostingType": route.hosting_type,
        "state": route.state,
        "target": where,
        "allowedGroups": list(route.allowed_groups),
        "contextWindow": route.context_window,
        "createdAt": route.created_at,
        "guardrails": [guardrail.item() for guardrail in route.guardrails],
    }


def _route(item: Mapping[str, Any]) -> Route:
    where = item["target"]
    target: HostedTarget | ProviderTarget
    if where["kind"] == "hosted":
        target = HostedTarget(where["engine"], where["baseUrl"], where["hostHeader"])
    else:
        target = ProviderTarget(where["model"], where.get("apiBase"), where.get("secretArn"))
    window = item.get("contextWindow")
    return Route(
        model_id=item["modelId"],
        model_name=item["modelName"],
        model_type=item["modelType"],
        mode=item["mode"],
        hosting_type=item["hostingType"],
        state=item["state"],
        target=target,
        allowed_groups=tuple(item.get("allowedGroups") or ()),
        context_window=int(window) if window is not None else None,
        created_at=int(item.get("createdAt") or 0),
        # Routes from before there were guardrails have none.
        guardrails=tuple(Guardrail.from_item(each) for each in item.get("guardrails") or ()),
    )
