"""How many long executions run at once: each holds a slot, taken by a conditional write before it starts.

Without a free one the work waits in the queue. The execution's last state gives the slot back, and the reconciler
those of executions that ended otherwise.
"""

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lisa import dynamo

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient


@dataclass(frozen=True, slots=True)
class Slot:
    """`holder` is the name of the execution; `since` is epoch milliseconds."""

    number: str
    holder: str
    since: int


class SlotStore:
    """`client` is a low-level DynamoDB client."""

    def __init__(self, table_name: str, client: "DynamoDBClient", *, slots: int) -> None:
        self._table = table_name
        self._client = client
        self._slots = slots

    def take(self, holder: str, *, now: int) -> bool:
        """False when all are taken. Whoever holds one already gets no second."""
        taken = {slot.number: slot for slot in self.taken()}
        if any(slot.holder == holder for slot in taken.values()):
            return True
        free = [number for number in map(str, range(self._slots)) if number not in taken]
        # Dispatchers that look at the same moment would all try the first one.
        random.shuffle(free)
        return any(self._put(number, holder, now) for number in free)

    def give_back(self, holder: str) -> None:
        for slot in self.taken():
            if slot.holder == holder:
                self._remove(slot)

    def taken(self) -> list[Slot]:
        items, _ = dynamo.page(self._client, self._table, "SLOT")
        return [Slot(str(item["sk"]), str(item["holder"]), int(item["since"])) for item in items]

    def _put(self, number: str, holder: str, now: int) -> bool:
        try:
            self._client.put_item(
                TableName=self._table,
                Item=dynamo.key("SLOT", number) | dynamo.to_item({"holder": holder, "since": now}),
                ConditionExpression="attribute_not_exists(pk)",
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def _remove(self, slot: Slot) -> None:
        try:
            self._client.delete_item(
                TableName=self._table,
                Key=dynamo.key("SLOT", slot.number),
                ConditionExpression="holder = :holder",
                ExpressionAttributeValues={":holder": {"S": slot.holder}},
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return  # somebody else has it now
