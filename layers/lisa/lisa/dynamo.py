"""What the stores on tables with `pk` and `sk` have in common. `client` is a low-level DynamoDB client."""

import random
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from lisa.errors import InvalidRequest

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

# Limits of BatchGetItem and BatchWriteItem.
_MOST_READ, _MOST_WRITTEN = 100, 25
_CONFLICTS = 6

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
    query: dict[str, Any] = {
        "TableName": table,
        "KeyConditionExpression": "pk = :pk",
        "ExpressionAttributeValues": {":pk": {"S": pk}},
        "ConsistentRead": True,
    }
    if after is not None:
        query["ExclusiveStartKey"] = key(pk, after)
    items, last = _pages(client, query, limit)
    return items, str(last["sk"]["S"]) if last else None


def index_page(
    client: "DynamoDBClient",
    table: str,
    *,
    index: tuple[str, str],
    value: str,
    since: str = "",
    limit: int | None = None,
    after: str | None = None,
    newest_first: bool = False,
) -> tuple[list[dict[str, Any]], str | None]:
    """Items of an index whose sort key is `at`, from `since` on; and the key to go on after, None at the end.

    `index` is its name and that of its partition's key, which is `value`. The key to go on after says where in the
    index, and at which item.
    """
    index_name, name = index
    query: dict[str, Any] = {
        "TableName": table,
        "IndexName": index_name,
        "KeyConditionExpression": "#name = :value AND #at >= :since",
        "ExpressionAttributeNames": {"#name": name, "#at": "at"},
        "ExpressionAttributeValues": {":value": {"S": value}, ":since": {"S": since or "0"}},
        "ScanIndexForward": not newest_first,
    }
    if after is not None:
        at, pk, sk = _parts(after)
        query["ExclusiveStartKey"] = key(pk, sk) | {name: {"S": value}, "at": {"S": at}}
    items, last = _pages(client, query, limit)
    return items, "|".join(str(last[part]["S"]) for part in ("at", "pk", "sk")) if last else None


def _pages(
    client: "DynamoDBClient", query: dict[str, Any], limit: int | None
) -> tuple[list[dict[str, Any]], Mapping[str, Any] | None]:
    """`limit` items that a query finds, or all; and the key of the last one when there are more."""
    items: list[dict[str, Any]] = []
    while True:
        if limit is not None:
            query["Limit"] = limit - len(items)
        answer = client.query(**query)
        items += [from_item(item) for item in answer["Items"]]
        last = answer.get("LastEvaluatedKey")
        if last is None or (limit is not None and len(items) >= limit):
            return items, last
        query["ExclusiveStartKey"] = last


def _parts(after: str) -> tuple[str, str, str]:
    parts = after.split("|")
    if len(parts) != 3 or not all(parts):
        raise InvalidRequest("nextToken is not one that a page gave.", field="nextToken")
    return parts[0], parts[1], parts[2]


def batch_get(
    client: "DynamoDBClient", table: str, keys: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Those items that are there, read consistently, in no order."""
    wanted: list[Any] = list(keys)
    found: list[dict[str, Any]] = []
    while wanted:
        asked, wanted = wanted[:_MOST_READ], wanted[_MOST_READ:]
        answer = client.batch_get_item(RequestItems={table: {"Keys": asked, "ConsistentRead": True}})
        found += [from_item(item) for item in answer["Responses"].get(table, [])]
        left: Any = answer.get("UnprocessedKeys", {}).get(table)
        wanted += left["Keys"] if left else []
    return found


def batch_put(client: "DynamoDBClient", table: str, items: Iterable[Mapping[str, Any]]) -> None:
    """Puts items, in place of what was there under their keys."""
    _batch_write(client, table, [{"PutRequest": {"Item": item}} for item in items])


def batch_delete(client: "DynamoDBClient", table: str, keys: Iterable[Mapping[str, Any]]) -> None:
    """Deletes items; those that are not there are no error."""
    _batch_write(client, table, [{"DeleteRequest": {"Key": each}} for each in keys])


def _batch_write(client: "DynamoDBClient", table: str, left: list[Any]) -> None:
    while left:
        asked, left = left[:_MOST_WRITTEN], left[_MOST_WRITTEN:]
        answer = client.batch_write_item(RequestItems={table: asked})
        left += answer.get("UnprocessedItems", {}).get(table, [])


def transact(client: "DynamoDBClient", writes: Sequence[Any]) -> bool:
    """Writes all or nothing; False when a condition did not hold. In conflict with another it is tried again."""
    for again in range(_CONFLICTS, -1, -1):
        try:
            client.transact_write_items(TransactItems=writes)
            return True
        except client.exceptions.TransactionCanceledException as error:
            reasons: Any = error.response.get("CancellationReasons", [])
            codes = {reason.get("Code") for reason in reasons}
            if "ConditionalCheckFailed" in codes:
                return False
            if not again or "TransactionConflict" not in codes:
                raise
            time.sleep(random.uniform(0.01, 0.1 * (_CONFLICTS + 1 - again)))  # noqa: S311
    return False


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
