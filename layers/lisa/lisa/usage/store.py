"""Reads the table of totals. Nothing is scanned: a report reads as many partitions as a dimension has."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lisa.usage import keys
from lisa.usage.message import COUNTERS, Counters, Dimension

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

Granularity = Literal["hour", "day"]
_LETTERS: dict[Granularity, str] = {"hour": "H", "day": "D"}


@dataclass(frozen=True, slots=True)
class Total:
    """What one user, group, model or token (`value`) used in a period, or for `period` = "" ever.

    `period` is a day or an hour in UTC, as `2026-11-27` or `2026-11-27T14`; times are epoch seconds.
    """

    value: str
    period: str
    counters: Counters
    first_at: int
    last_at: int
    groups: tuple[str, ...] = ()


class UsageStore:
    """`client` is a low-level DynamoDB client."""

    def __init__(self, table_name: str, client: "DynamoDBClient") -> None:
        self._table = table_name
        self._client = client

    def user(self, user: str) -> Total | None:
        """All that a user has used; None for one who has never called a model."""
        key = {"pk": {"S": keys.partition(None, "user", user)}, "sk": {"S": keys.total_row(user)}}
        item = self._client.get_item(TableName=self._table, Key=key).get("Item")
        return _total(item, "") if item else None

    def users(self) -> Iterator[Total]:
        """All users who have called a model, in no order."""
        for pk in keys.partitions(None, "user"):
            for item in self._query(pk, "T#", "T$"):
                yield _total(item, "")

    def totals(
        self, of: str | None, by: Dimension, granularity: Granularity, first_day: str, last_day: str
    ) -> Iterator[Total]:
        """Totals of everybody, or `of` one user, from the first day to the last, both included; in no order."""
        prefix = keys.period_prefix(of, by, _LETTERS[granularity])
        start, end = prefix + first_day, prefix + last_day
        # `$` comes after `#`, with which a period ends.
        end += "T23$" if granularity == "hour" else "$"
        for pk in keys.partitions(of, by):
            for item in self._query(pk, start, end):
                yield _total(item, item["sk"]["S"][len(prefix) :].split("#", 1)[0])

    def _query(self, pk: str, start: str, end: str) -> Iterator[dict[str, Any]]:
        query: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": "pk = :pk AND sk BETWEEN :start AND :end",
            "ExpressionAttributeValues": {":pk": {"S": pk}, ":start": {"S": start}, ":end": {"S": end}},
        }
        while True:
            answer = self._client.query(**query)
            yield from answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return
            query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def _total(item: dict[str, Any], period: str) -> Total:
    counts = {name: int(item[name]["N"]) for name in COUNTERS if name in item}
    return Total(
        value=item["value"]["S"],
        period=period,
        counters=Counters(**counts),
        first_at=int(item["firstAt"]["N"]),
        last_at=int(item["lastAt"]["N"]),
        groups=tuple(group["S"] for group in item["groups"]["L"]) if "groups" in item else (),
    )
