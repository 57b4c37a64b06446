"""Files of `/v1/files` and batches of them in the documents table (its other rows: lisa.rag.documents.rows).

| pk | sk | by-owner | what |
| --- | --- | --- | --- |
| `FILE#<file>` | `FILE` | `FILES#<owner>` | a file that was uploaded |
| `BATCH#<vector store>` | batch | | files that were put into a vector store together |
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lisa import dynamo
from lisa.rag.documents import rows as document_rows
from lisa.rag.rows import record, values

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

# A batch is of use while it runs and for who looks afterwards. Seconds.
BATCH_SECONDS = 30 * 86_400
_MOST = 10_000


@dataclass(frozen=True, slots=True)
class File:
    """`created_at` is in epoch milliseconds, `stores` are ids of the vector stores that it was put into."""

    id: str
    owner: str
    filename: str
    bytes: int
    purpose: str
    created_at: int
    stores: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """`documents` says for each file which document it has become."""

    id: str
    store_id: str
    created_at: int
    files: tuple[str, ...]
    documents: tuple[str, ...]
    cancelled: bool = False


class FileStore:
    """`client` is a low-level DynamoDB client."""

    def __init__(self, table_name: str, client: "DynamoDBClient") -> None:
        self._table = table_name
        self._client = client

    def put(self, file: File) -> None:
        own = {"ownedBy": _files_of(file.owner), "at": document_rows.at(file.created_at, file.id)}
        item = values(file) | own
        del item["stores"]  # a set of DynamoDB's, which may not be empty
        self._client.put_item(TableName=self._table, Item=dynamo.to_item(item) | _file_key(file.id))

    def get(self, file_id: str) -> File | None:
        return self.several([file_id]).get(file_id)

    def several(self, file_ids: list[str]) -> dict[str, File]:
        """Those of these files that are there, by id."""
        keys = [_file_key(each) for each in dict.fromkeys(file_ids)]
        found = map(_file, dynamo.batch_get(self._client, self._table, keys))
        return {file.id: file for file in found}

    def of_owner(self, owner: str) -> list[File]:
        """Oldest first; of very many the newest only."""
        items, _ = dynamo.index_page(
            self._client,
            self._table,
            index=document_rows.BY_OWNER,
            value=_files_of(owner),
            limit=_MOST,
            newest_first=True,
        )
        return [_file(item) for item in reversed(items)]

    def note_store(self, file_id: str, store_id: str) -> None:
        """Remembers where a file is, so that it can be taken out when it is deleted; nothing when it is gone."""
        try:
            self._client.update_item(
                TableName=self._table,
                Key=_file_key(file_id),
                UpdateExpression="ADD stores :stores",
                ConditionExpression="attribute_exists(pk)",
                ExpressionAttributeValues={":stores": {"SS": [store_id]}},
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return

    def delete(self, file_id: str) -> None:
        self._client.delete_item(TableName=self._table, Key=_file_key(file_id))

    def put_batch(self, batch: Batch) -> None:
        expires = {"expiresAt": batch.created_at // 1000 + BATCH_SECONDS}
        item = dynamo.to_item(values(batch) | expires) | _batch_key(batch.store_id, batch.id)
        self._client.put_item(TableName=self._table, Item=item)

    def batch(self, store_id: str, batch_id: str) -> Batch | None:
        answer = self._client.get_item(
            TableName=self._table, Key=_batch_key(store_id, batch_id), ConsistentRead=True
        )
        item = answer.get("Item")
        return record(Batch, dynamo.from_item(item)) if item else None

    def cancel_batch(self, batch: Batch) -> None:
        self._client.update_item(
            TableName=self._table,
            Key=_batch_key(batch.store_id, batch.id),
            UpdateExpression="SET cancelled = :true",
            ConditionExpression="attribute_exists(pk)",
            ExpressionAttributeValues={":true": {"BOOL": True}},
        )


def _file(item: dict[str, Any]) -> File:
    return record(File, item | {"stores": sorted(item.get("stores", ()))})


def _files_of(owner: str) -> str:
    return f"FILES#{owner}"


def _file_key(file_id: str) -> dict[str, Any]:
    return dynamo.key(f"FILE#{file_id}", "FILE")


def _batch_key(store_id: str, batch_id: str) -> dict[str, Any]:
    return dynamo.key(f"BATCH#{store_id}", batch_id)
