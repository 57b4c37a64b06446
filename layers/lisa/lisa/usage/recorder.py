"""Adds messages to the table of totals: each once, however often it is delivered."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lisa.errors import Unavailable
from lisa.usage import keys
from lisa.usage.message import COUNTERS, Counters, Entry, Message

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

# Longer than a message can live: 4 days in the queue, 14 in the dead-letter queue, 4 again when it is redriven.
MARKER_DAYS = 30
HOUR_ROW_DAYS = 90
ATTEMPTS = 8
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.02, 1.0
# Another transaction was at the same rows, or there were too many of them: nothing has been written.
_LATER = frozenset({"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"})


@dataclass(slots=True)
class _Row:
    value: str
    expires_at: int
    first_at: int
    last_at: int
    counters: Counters = field(default_factory=Counters)
    groups: tuple[str, ...] | None = None


class UsageRecorder:
    """`client` is a low-level DynamoDB client. Day rows and users that are not seen are kept `retention_days`."""

    def __init__(
        self,
        table_name: str,
        client: "DynamoDBClient",
        *,
        retention_days: int,
        clock: Callable[[], float] = time.time,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._table = table_name
        self._client = client
        self._retention_days = retention_days
        self._clock = clock
        self._pause = pause

    def record(self, message: Message) -> bool:
        """Whether it was new. Raises Unavailable when the table does not take it now: nothing is recorded then."""
        actions = [self._marker(message.id), *self._updates(message)]
        longest = _FIRST_PAUSE_SECONDS
        for attempt in range(ATTEMPTS):
            if attempt:
                self._pause(random.uniform(0, longest))  # noqa: S311 - spreads retries, guards nothing
                longest = min(2 * longest, _LONGEST_PAUSE_SECONDS)
            try:
                self._client.transact_write_items(TransactItems=actions)
            except self._client.exceptions.TransactionCanceledException as error:
                codes = [reason.get("Code") for reason in error.response.get("CancellationReasons", [])]
                if codes and codes[0] == "ConditionalCheckFailed":
                    return False
                if not _LATER.intersection(codes):
                    raise
            else:
                return True
        raise Unavailable("The usage table is too busy; the message has to come again.")

    def _marker(self, message_id: str) -> Any:
        expires_at = int(self._clock()) + MARKER_DAYS * 86_400
        item = {
            "pk": {"S": f"BATCH#{message_id}"},
            "sk": {"S": "RECORDED"},
            "expiresAt": {"N": str(expires_at)},
        }
        condition = "attribute_not_exists(pk)"
        return {"Put": {"TableName": self._table, "Item": item, "ConditionExpression": condition}}

    def _updates(self, message: Message) -> list[Any]:
        rows: dict[tuple[str, str], _Row] = {}
        for entry in message.entries:
            for sort_key, expires_at in self._places(entry):
                row = rows.setdefault(
                    (keys.partition(entry.of, entry.by, entry.value), sort_key),
                    _Row(entry.value, expires_at, entry.first_at, entry.last_at),
                )
                row.counters.add(entry.counters)
                row.expires_at = max(row.expires_at, expires_at)
                row.first_at = min(row.first_at, entry.first_at)
                if entry.last_at >= row.last_at:
                    row.last_at = entry.last_at
                    row.groups = entry.groups
        return [self._update(key, row) for key, row in rows.items()]

    def _places(self, entry: Entry) -> list[tuple[str, int]]:
        """Sort keys of the rows that an entry adds to, each with the time until which it is kept."""
        day = entry.hour[:10]
        midnight = datetime.fromisoformat(day).replace(tzinfo=UTC)
        kept = int((midnight + timedelta(days=self._retention_days + 1)).timestamp())
        hours = int((midnight + timedelta(days=min(HOUR_ROW_DAYS, self._retention_days) + 1)).timestamp())
        places = [
            (keys.hour_row(entry.of, entry.by, entry.hour, entry.value), hours),
            (keys.day_row(entry.of, entry.by, day, entry.value), kept),
        ]
        if entry.of is None and entry.by == "user" and entry.value:
            places.append((keys.total_row(entry.value), kept))
        return places

    def _update(self, key: tuple[str, str], row: _Row) -> Any:
        added = {name: getattr(row.counters, name) for name in COUNTERS if getattr(row.counters, name)}
        fixed: dict[str, dict[str, Any]] = {
            "value": {"S": row.value},
            "expiresAt": {"N": str(row.expires_at)},
            "lastAt": {"N": str(row.last_at)},
        }
        if row.groups:
            fixed["groups"] = {"L": [{"S": group} for group in row.groups]}
        values = {f":{name}": {"N": str(count)} for name, count in added.items()}
        values |= {f":{name}": value for name, value in fixed.items()}
        values[":firstAt"] = {"N": str(row.first_at)}
        sets = ", ".join(f"#{name} = :{name}" for name in fixed)
        expression = f"SET {sets}, #firstAt = if_not_exists(#firstAt, :firstAt)"
        if added:
            expression += " ADD " + ", ".join(f"#{name} :{name}" for name in added)
        return {
            "Update": {
                "TableName": self._table,
                "Key": {"pk": {"S": key[0]}, "sk": {"S": key[1]}},
                "UpdateExpression": expression,
                "ExpressionAttributeNames": {f"#{name}": name for name in (*added, *fixed, "firstAt")},
                "ExpressionAttributeValues": values,
            }
        }
