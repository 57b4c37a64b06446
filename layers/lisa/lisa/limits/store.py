"""Limits and prices in DynamoDB: `LIMIT/<type>#<id>`, `PRICE/<model id>`, and a counter that grows with every change.

Gateways look at the counter each second and read everything again when it has grown.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lisa import dynamo
from lisa.limits.prices import Price
from lisa.limits.record import Limit, limit_key

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

_VERSION_KEY = dynamo.key("VERSION", "VERSION")


class LimitStore:
    """`client` is a low-level DynamoDB client."""

    def __init__(self, table_name: str, client: "DynamoDBClient") -> None:
        self._table = table_name
        self._client = client

    def version(self) -> int:
        """Grows with every change; 0 before the first."""
        item = self._get(_VERSION_KEY)
        return int(item["version"]) if item else 0

    def everything(self) -> tuple[int, list[Limit], list[Price]]:
        """All limits and prices, and a version that they are at least as new as."""
        version = self.version()
        limits = [Limit.from_item(item) for item in self._page("LIMIT", None, None)[0]]
        return version, limits, [_price(item) for item in self._page("PRICE", None, None)[0]]

    def limit(self, subject_type: str, subject_id: str) -> Limit | None:
        item = self._get(dynamo.key("LIMIT", limit_key(subject_type, subject_id)))
        return Limit.from_item(item) if item else None

    def limits(self, *, size: int, after: str | None = None) -> tuple[list[Limit], str | None]:
        """A page in the order of the keys, and the key to go on after, or None at the end."""
        items, last = self._page("LIMIT", size, after)
        return [Limit.from_item(item) for item in items], last

    def put_limit(self, limit: Limit) -> None:
        self._change({"Put": {"TableName": self._table, "Item": dynamo.to_item(limit.item())}})

    def remove_limit(self, subject_type: str, subject_id: str) -> None:
        self._remove("LIMIT", limit_key(subject_type, subject_id))

    def price(self, model_id: str) -> Price | None:
        item = self._get(dynamo.key("PRICE", model_id))
        return _price(item) if item else None

    def prices(self, *, size: int, after: str | None = None) -> tuple[list[Price], str | None]:
        items, last = self._page("PRICE", size, after)
        return [_price(item) for item in items], last

    def put_price(self, price: Price) -> None:
        item = {
            "pk": "PRICE",
            "sk": price.model_id,
            "prompt": price.prompt,
            "completion": price.completion,
            "updatedAt": price.updated_at,
            "updatedBy": price.updated_by,
        }
        self._change({"Put": {"TableName": self._table, "Item": dynamo.to_item(item)}})

    def remove_price(self, model_id: str) -> None:
        self._remove("PRICE", model_id)

    def _remove(self, pk: str, sk: str) -> None:
        self._change({"Delete": {"TableName": self._table, "Key": dynamo.key(pk, sk)}})

    def _change(self, change: Any) -> None:
        changes: list[Any] = [change, dynamo.grow(self._table, _VERSION_KEY)]
        self._client.transact_write_items(TransactItems=changes)

    def _get(self, key: Any) -> dict[str, Any] | None:
        item = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True).get("Item")
        return dynamo.from_item(item) if item else None

    def _page(self, pk: str, size: int | None, after: str | None) -> tuple[list[dict[str, Any]], str | None]:
        return dynamo.page(self._client, self._table, pk, limit=size, after=after)


def _price(item: Mapping[str, Any]) -> Price:
    return Price(
        item["sk"], int(item["prompt"]), int(item["completion"]), int(item["updatedAt"]), item["updatedBy"]
    )
