"""Audit events in DynamoDB, by id, and in indexes by day, by user and by action."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lisa.audit.schema import AuditRecord

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Index:
    """An index and its partition key; `at` (time, `#`, id) sorts each of them."""

    name: str
    key: str


BY_DAY = Index("by-day", "day")
BY_USER = Index("by-user", "user")
BY_ACTION = Index("by-action", "action")


class AuditStore:
    def __init__(self, table_name: str, client: "DynamoDBClient", *, retention_days: int = 0) -> None:
        self._table = table_name
        self._client = client
        self._retention = retention_days * DAY_SECONDS

    def add(self, record: AuditRecord) -> bool:
        """False when an event of this id is there already."""
        expires = int(datetime.fromisoformat(record.time).timestamp()) + self._retention
        item: dict[str, Any] = {
            "pk": {"S": record.id},
            "at": {"S": position_of(record)},
            "day": {"S": record.time[:10]},
            "action": {"S": record.action},
            "event": {"S": record.model_dump_json(by_alias=True)},
            "expiresAt": {"N": str(expires)},
        }
        if record.actor.user:  # an index takes no empty key
            item["user"] = {"S": record.actor.user}
        try:
            self._client.put_item(
                TableName=self._table, Item=item, ConditionExpression="attribute_not_exists(pk)"
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def query(
        self,
        index: Index,
        value: str,
        *,
        first: str,
        last: str,
        limit: int,
        after: str | None,
        action: str | None = None,
    ) -> tuple[list[AuditRecord], str | None]:
        """Up to `limit` events from the time `first` until before `last`, the newest first, after a position.

        The position to go on after is None at the end. With `action`, others are left out, so a page may be short.
        """
        ask: dict[str, Any] = {
            "TableName": self._table,
            "IndexName": index.name,
            "KeyConditionExpression": "#key = :key AND #at BETWEEN :first AND :last",
            "ExpressionAttributeNames": {"#key": index.key, "#at": "at"},
            "ExpressionAttributeValues": {
                ":key": {"S": value},
                ":first": {"S": first},
                ":last": {"S": last},
            },
            "ScanIndexForward": False,
            "Limit": limit,
        }
        if action is not None:
            ask["FilterExpression"] = "#action = :action"
            ask["ExpressionAttributeNames"]["#action"] = "action"
            ask["ExpressionAttributeValues"][":action"] = {"S": action}
        if after is not None:
            ask["ExclusiveStartKey"] = {
                "pk": {"S": after.partition("#")[2]},
                index.key: {"S": value},
                "at": {"S": after},
            }
        answer = self._client.query(**ask)
        end = answer.get("LastEvaluatedKey")
        return [_record(item) for item in answer["Items"]], end["at"]["S"] if end else None


def position_of(record: AuditRecord) -> str:
    return f"{record.time}#{record.id}"


def _record(item: Mapping[str, Any]) -> AuditRecord:
    return AuditRecord.model_validate(json.loads(item["event"]["S"]))
