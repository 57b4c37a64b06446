"""What the stores on tables with `pk` and `sk` have in common. `client` is a low-level DynamoDB client."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

_SERIALIZE = TypeSerializer().serialize
_DESERIALIZE = TypeDeserializer().deserialize


def key(pk: str, sk: str) -> dict[str, Any]:
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def to_item(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _SERIALIZE(value) for name, value in values.items()}


def from_item(item: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values; numbers come as Decimal."""
    return {name: _DESERIALIZE(value) for name, value in item.items()}


def page(
    client: "DynamoDBClient", table: str, pk: str, *, limit: int | None = None, after: str | None = None
) -> tuple[list[dict[str, Any]], str | None]:
    """A partition's items in the order of `sk`, after the `sk` `after`; and the `sk` to go on after, None at the end.

    Without `limit`, all that are left.
    """
    items: list[dict[str, Any]] = []
    query: dict[str, Any] = {
        "TableName": table,
        "KeyConditionExpression": "pk = :pk",
        "ExpressionAttributeValues": {":pk": {"S": pk}},
        "ConsistentRead": True,
    }
    if after is not None:
        query["ExclusiveStartKey"] = key(pk, after)
    while True:
        if limit is not None:
            query["Limit"] = limit - len(items)
        answer = client.query(**query)
        items += [from_item(item) for item in answer["Items"]]
        last = answer.get("LastEvaluatedKey")
        if last is None:
            return items, None
        if limit is not None and len(items) >= limit:
            return items, str(last["sk"]["S"])
        query["ExclusiveStartKey"] = last


def grow(table: str, version_key: Mapping[str, Any]) -> Any:
    """The action of a transaction that adds one to the `version` of an item."""
    return {
        "Update": {
            "TableName": table,
            "Key": version_key,
            "UpdateExpression": "ADD #version :one",
            "ExpressionAttributeNames": {"#version": "version"},
            "ExpressionAttributeValues": {":one": {"N": "1"}},
        }
    }
