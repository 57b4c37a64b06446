"""Models in DynamoDB. Every write is conditional, so that what arrives twice or late changes nothing."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lisa import dynamo
from lisa.errors import Conflict
from lisa.models.record import ModelRecord
from lisa.models.schema import Status

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient


class ModelStore:
    """The rows `MODEL/<model id>`. `client` is a low-level DynamoDB client."""

    def __init__(self, table_name: str, client: "DynamoDBClient") -> None:
        self._table = table_name
        self._client = client

    def get(self, model_id: str) -> ModelRecord | None:
        answer = self._client.get_item(
            TableName=self._table, Key=dynamo.key("MODEL", model_id), ConsistentRead=True
        )
        item = answer.get("Item")
        return ModelRecord.from_item(dynamo.from_item(item)) if item else None

    def page(
        self, *, limit: int | None = None, after: str | None = None
    ) -> tuple[list[ModelRecord], str | None]:
        """Models in the order of their ids, after the id `after`; and the id to go on after, or None at the end.

        Without `limit`, all that are left.
        """
        items, last = dynamo.page(self._client, self._table, "MODEL", limit=limit, after=after)
        return [ModelRecord.from_item(item) for item in items], last

    def create(self, record: ModelRecord) -> None:
        """Raises Conflict when the id is taken."""
        item = dynamo.to_item(record.item())
        try:
            self._client.put_item(
                TableName=self._table, Item=item, ConditionExpression="attribute_not_exists(pk)"
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            raise Conflict(
                f"There is a model {record.model_id!r} already: choose another modelId, or delete it first.",
                code="model_exists",
                field="modelId",
            ) from None

    def want_absent(self, record: ModelRecord, *, now: int, deadline: int) -> ModelRecord | None:
        """Wishes the model away: a new generation, status Deleting. None when the row has changed meanwhile."""
        return self._update(
            record.model_id,
            "SET desired = :absent, generation = generation + :one, attempt = :one, #status = :deleting, "
            "reason = :none, updatedAt = :now, deadline = :deadline",
            {":absent": "absent", ":one": 1, ":deleting": "Deleting", ":none": None, ":now": now,
             ":deadline": deadline, ":generation": record.generation},
            "generation = :generation",
        )  # fmt: skip

    def set_status(
        self, model_id: str, generation: int, status: Status, reason: str | None, *, now: int
    ) -> ModelRecord | None:
        """What a workflow found. None when its wish is not the newest any more."""
        return self._update(
            model_id,
            "SET #status = :status, reason = :reason, updatedAt = :now",
            {":status": status, ":reason": reason, ":now": now, ":generation": generation},
            "generation = :generation",
        )

    def try_again(self, record: ModelRecord, *, now: int, deadline: int) -> ModelRecord | None:
        """Raises the attempt, which starts the workflow again. None when the row has changed meanwhile."""
        return self._update(
            record.model_id,
            "SET attempt = attempt + :one, updatedAt = :now, deadline = :deadline",
            {":one": 1, ":now": now, ":deadline": deadline, ":generation": record.generation,
             ":attempt": record.attempt},
            "generation = :generation AND attempt = :attempt",
        )  # fmt: skip

    def forget(self, model_id: str, generation: int) -> None:
        """Removes the row, unless a newer wish has been made."""
        try:
            self._client.delete_item(
                TableName=self._table,
                Key=dynamo.key("MODEL", model_id),
                ConditionExpression="generation = :generation",
                ExpressionAttributeValues={":generation": {"N": str(generation)}},
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return

    def _update(
        self, model_id: str, expression: str, values: Mapping[str, Any], condition: str
    ) -> ModelRecord | None:
        names = {"#status": "status"} if "#status" in expression else {}
        extra: dict[str, Any] = {"ExpressionAttributeNames": names} if names else {}
        try:
            answer = self._client.update_item(
                TableName=self._table,
                Key=dynamo.key("MODEL", model_id),
                UpdateExpression=expression,
                ConditionExpression=f"attribute_exists(pk) AND {condition}",
                ExpressionAttributeValues=dynamo.to_item(values),
                ReturnValues="ALL_NEW",
                **extra,
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return None
        return ModelRecord.from_item(dynamo.from_item(answer["Attributes"]))
