"""The generations of a collection's index: what each is made with."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lisa import dynamo
from lisa.rag.records import Chunking, Collection
from lisa.rag.rows import record, values
from lisa.rag.vectors.base import Index

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient


@dataclass(frozen=True, slots=True)
class Generation:
    """`chunking` is that of documents for which nobody asked for another one."""

    number: int
    embedding_model: str
    dimensions: int
    chunking: Chunking


@dataclass(frozen=True, slots=True)
class Reindex:
    """A collection's next generation, while it is filled. `refused` counts documents that could not be put into it."""

    repository_id: str
    collection_id: str
    generation: int
    embedding_model: str
    dimensions: int
    chunking: Chunking
    job_id: str
    refused: int = 0
    reason: str = ""

    @property
    def next(self) -> Generation:
        return Generation(self.generation, self.embedding_model, self.dimensions, self.chunking)


class ReindexStore:
    """In the documents table; `client` is a low-level DynamoDB client."""

    def __init__(self, table_name: str, client: "DynamoDBClient") -> None:
        self._table = table_name
        self._client = client

    def get(self, repository_id: str, collection_id: str) -> Reindex | None:
        answer = self._client.get_item(
            TableName=self._table, Key=_key(repository_id, collection_id), ConsistentRead=True
        )
        item = answer.get("Item")
        return record(Reindex, dynamo.from_item(item)) if item else None

    def put(self, reindex: Reindex) -> None:
        key = _key(reindex.repository_id, reindex.collection_id)
        self._client.put_item(TableName=self._table, Item=dynamo.to_item(values(reindex)) | key)

    def refuse(self, repository_id: str, collection_id: str, generation: int, reason: str) -> None:
        """Counts a document that cannot be put into the next generation; its reason is shown."""
        try:
            self._client.update_item(
                TableName=self._table,
                Key=_key(repository_id, collection_id),
                UpdateExpression="SET reason = :reason ADD refused :one",
                ConditionExpression="generation = :generation",
                ExpressionAttributeValues=dynamo.to_item(
                    {":reason": reason, ":one": 1, ":generation": generation}
                ),
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return

    def forget(self, repository_id: str, collection_id: str) -> None:
        self._client.delete_item(TableName=self._table, Key=_key(repository_id, collection_id))

    def generations(self, collection: Collection) -> list[Generation]:
        """The one that is searched, and behind it the one that is being filled, if there is one."""
        found = [current(collection)]
        if collection.next_generation:
            reindex = self.get(collection.repository_id, collection.id)
            if reindex is not None and reindex.generation == collection.next_generation:
                found.append(reindex.next)
        return found


def current(collection: Collection) -> Generation:
    return Generation(
        collection.generation, collection.embedding_model, collection.dimensions, collection.chunking
    )


def index_of(repository_id: str, collection_id: str, generation: Generation) -> Index:
    return Index(repository_id, collection_id, generation.number, generation.dimensions)


def _key(repository_id: str, collection_id: str) -> dict[str, dict[str, str]]:
    return dynamo.key(f"REINDEX#{repository_id}#{collection_id}", "REINDEX")
