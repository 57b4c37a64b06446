"""Priorities of listener rules: each model needs one of its own on the shared load balancer."""

from typing import TYPE_CHECKING

from lisa.errors import Unavailable

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

# A load balancer takes 100 target groups; some are kept for canaries.
MODELS_PER_BALANCER = 90


class PriorityStore:
    """The items `PRIORITY/<number>`, each held by one model; taken by conditional write."""

    def __init__(self, table_name: str, client: "DynamoDBClient") -> None:
        self._table = table_name
        self._client = client

    def take(self, model_id: str) -> int:
        """The model's priority, the same one however often it is asked for.

        Raises Unavailable when all are taken.
        """
        held = self._held()
        for priority, holder in held.items():
            if holder == model_id:
                return priority
        for priority in range(1, MODELS_PER_BALANCER + 1):
            if priority not in held and self._put(priority, model_id):
                return priority
        raise Unavailable(
            f"All {MODELS_PER_BALANCER} places of the models' load balancer are taken: delete a hosted model first.",
            code="no_capacity",
        )

    def give_back(self, model_id: str) -> None:
        for priority, holder in self._held().items():
            if holder == model_id:
                self._client.delete_item(TableName=self._table, Key=_key(priority))

    def _held(self) -> dict[int, str]:
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": "PRIORITY"}},
            ConsistentRead=True,
        )
        return {int(item["sk"]["S"]): item["modelId"]["S"] for page in pages for item in page["Items"]}

    def _put(self, priority: int, model_id: str) -> bool:
        try:
            self._client.put_item(
                TableName=self._table,
                Item={**_key(priority), "modelId": {"S": model_id}},
                ConditionExpression="attribute_not_exists(pk)",
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True


def _key(priority: int) -> dict[str, dict[str, str]]:
    return {"pk": {"S": "PRIORITY"}, "sk": {"S": f"{priority:05}"}}
