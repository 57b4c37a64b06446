"""How much has been used, by everybody: one item a subject and window, changed by atomic additions only.

`COUNTER#<type>#<id>` / `<window>#<start>` holds `requests` (leased to gateways), `tokens` and `cost` (millionths of a
US dollar). `ALERT` / ... is a budget's warning, written once; the table's stream makes an event of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lisa.limits.windows import KEEP_SECONDS, Window

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient


@dataclass(frozen=True, slots=True)
class Totals:
    """What the whole fleet has used of a window."""

    requests: int = 0
    tokens: int = 0
    cost: int = 0


class CounterStore:
    """`client` is a low-level DynamoDB client. Its methods may be called from several threads."""

    def __init__(self, table_name: str, client: "DynamoDBClient") -> None:
        self._table = table_name
        self._client = client

    def read(self, subject: str, window: Window, start: int) -> Totals:
        answer = self._client.get_item(
            TableName=self._table, Key=_key(subject, window, start), ConsistentRead=True
        )
        return _totals(answer.get("Item") or {})

    def add(
        self,
        subject: str,
        window: Window,
        start: int,
        end: int,
        *,
        requests: int = 0,
        tokens: int = 0,
        cost: int = 0,
    ) -> Totals:
        """Adds to what is used (or gives leases back, with a negative number), and answers the fleet's totals."""
        answer = self._client.update_item(
            TableName=self._table,
            Key=_key(subject, window, start),
            UpdateExpression="SET expiresAt = :expires ADD requests :requests, tokens :tokens, cost :cost",
            ExpressionAttributeValues={
                ":expires": _number(end + KEEP_SECONDS[window]),
                ":requests": _number(requests),
                ":tokens": _number(tokens),
                ":cost": _number(cost),
            },
            # Not UPDATED_NEW, in which some stores leave out what 0 was added to.
            ReturnValues="ALL_NEW",
        )
        return _totals(answer["Attributes"])

    def lease(
        self, subject: str, window: Window, start: int, end: int, *, wanted: int, share: int, limit: int
    ) -> tuple[int, int]:
        """Takes requests out of what is left of the window: as many as are granted, and what is then gone of the limit.

        `wanted` is what is waited for; more than that is taken as long as plenty is left, namely the `share`th part.
        However many gateways ask at once, the sum of what they are granted is never above the limit.
        """
        gone = 0
        block = min(limit, max(wanted, limit // share))
        # Each round in which somebody was faster, the guess gets better; in the end one is taken at a time.
        for _ in range(8):
            try:
                answer = self._client.update_item(
                    TableName=self._table,
                    Key=_key(subject, window, start),
                    UpdateExpression="SET expiresAt = :expires ADD requests :block",
                    ConditionExpression="attribute_not_exists(requests) OR requests <= :room",
                    ExpressionAttributeValues={
                        ":expires": _number(end + KEEP_SECONDS[window]),
                        ":block": _number(block),
                        ":room": _number(limit - block),
                    },
                    ReturnValues="UPDATED_NEW",
                )
            except self._client.exceptions.ConditionalCheckFailedException:
                gone = self.read(subject, window, start).requests
                left = limit - gone
                if left <= 0:
                    return 0, gone
                block = min(left, max(wanted, left // share), max(1, block // 2))
            else:
                return block, _totals(answer["Attributes"]).requests
        return 0, gone

    def alert(self, key: str, detail: Mapping[str, str | int], *, expires: int) -> bool:
        """Writes a budget's warning down; whether it was this call that did, because nobody had before."""
        item: dict[str, Any] = {
            name: _number(value) if isinstance(value, int) else {"S": value} for name, value in detail.items()
        }
        try:
            self._client.put_item(
                TableName=self._table,
                Item={"pk": {"S": "ALERT"}, "sk": {"S": key}, "expiresAt": _number(expires), **item},
                ConditionExpression="attribute_not_exists(pk)",
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True


def _key(subject: str, window: Window, start: int) -> dict[str, Any]:
    return {"pk": {"S": subject}, "sk": {"S": f"{window}#{start}"}}


def _number(value: int) -> Any:
    return {"N": str(value)}


def _totals(item: Mapping[str, Any]) -> Totals:
    return Totals(*(int(item[name]["N"]) if name in item else 0 for name in ("requests", "tokens", "cost")))
