"""Documents that are searched, how many there are, and what is known of their attributes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lisa import dynamo
from lisa.rag.documents import rows
from lisa.rag.records import Attribute, Document

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient


@dataclass(frozen=True, slots=True)
class Kept:
    """A document, and how many chunks it has in each generation of its collection that it is in."""

    document: Document
    generations: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Count:
    """What a collection holds. `bytes` are those of the objects, `failed` objects that could not be ingested."""

    documents: int = 0
    chunks: int = 0
    bytes: int = 0
    failed: int = 0

    def __add__(self, other: "Count") -> "Count":
        return Count(
            self.documents + other.documents,
            self.chunks + other.chunks,
            self.bytes + other.bytes,
            self.failed + other.failed,
        )


class DocumentStore:
    """`client` is a low-level DynamoDB client."""

    def __init__(self, table_name: str, client: "DynamoDBClient") -> None:
        self._table = table_name
        self._client = client

    def get(self, document_id: str) -> Document | None:
        kept = self.kept([document_id]).get(document_id)
        return kept.document if kept else None

    def kept(self, document_ids: Iterable[str]) -> dict[str, Kept]:
        """Those of these documents that are there, by id."""
        keys = [rows.document_key(each) for each in dict.fromkeys(document_ids)]
        found = [_kept(item) for item in dynamo.batch_get(self._client, self._table, keys)]
        return {each.document.id: each for each in found}

    def of_collection(
        self, repository_id: str, collection_id: str, *, limit: int | None = None, after: str | None = None
    ) -> tuple[list[Kept], str | None]:
        """Oldest first; and the key to go on after, None at the end. What was just written may be missing."""
        items, last = dynamo.index_page(
            self._client,
            self._table,
            index=rows.BY_PLACE,
            value=rows.documents_place(repository_id, collection_id),
            limit=limit,
            after=after,
        )
        return [_kept(item) for item in items], last

    def of_owner(
        self, owner: str, *, limit: int | None = None, after: str | None = None
    ) -> tuple[list[Document], str | None]:
        """A user's documents everywhere, newest first."""
        items, last = dynamo.index_page(
            self._client,
            self._table,
            index=rows.BY_OWNER,
            value=rows.documents_owner(owner),
            limit=limit,
            after=after,
            newest_first=True,
        )
        return [rows.document_of(item) for item in items], last

    def count(self, repository_id: str, collection_id: str) -> Count:
        item = self._get(rows.count_key(repository_id, collection_id))
        if item is None:
            return Count()
        return Count(*(int(item.get(name, 0)) for name in ("documents", "chunks", "bytes", "failed")))

    def fields(self, repository_id: str, collection_id: str) -> dict[str, set[str]]:
        """Attributes that documents of a collection have or had, with the types of their values (`type_of`)."""
        item = self._get(rows.fields_key(repository_id, collection_id))
        found: dict[str, set[str]] = {}
        for each in item["seen"] if item else ():
            name, _, kind = str(each).rpartition(":")
            found.setdefault(name, set()).add(kind)
        return found

    def note_fields(
        self, repository_id: str, collection_id: str, attributes: Mapping[str, Attribute]
    ) -> None:
        if not attributes:
            return
        seen = [f"{name}:{type_of(value)}" for name, value in attributes.items()]
        self._client.update_item(
            TableName=self._table,
            Key=rows.fields_key(repository_id, collection_id),
            UpdateExpression="ADD seen :seen",
            ExpressionAttributeValues={":seen": {"SS": seen}},
        )

    def forget_collection(self, repository_id: str, collection_id: str) -> None:
        """What is known of a collection as a whole, once its documents are gone."""
        for key in (
            rows.count_key(repository_id, collection_id),
            rows.fields_key(repository_id, collection_id),
        ):
            self._client.delete_item(TableName=self._table, Key=key)

    # Actions of transactions: each holds only as long as the document is as it was read.

    def putting(self, new: Kept, old: Kept | None) -> Any:
        put: dict[str, Any] = {
            "TableName": self._table,
            "Item": rows.document_item(
                new.document, {str(number): chunks for number, chunks in new.generations.items()}
            ),
        }
        return {"Put": put | _unchanged(old)}

    def deleting(self, old: Kept) -> Any:
        key = rows.document_key(old.document.id)
        return {"Delete": {"TableName": self._table, "Key": key} | _unchanged(old)}

    def counting(self, repository_id: str, collection_id: str, change: Count) -> Any:
        return {
            "Update": {
                "TableName": self._table,
                "Key": rows.count_key(repository_id, collection_id),
                "UpdateExpression": "ADD documents :documents, chunks :chunks, #bytes :bytes, failed :failed",
                "ExpressionAttributeNames": {"#bytes": "bytes"},
                "ExpressionAttributeValues": dynamo.to_item(
                    {
                        ":documents": change.documents,
                        ":chunks": change.chunks,
                        ":bytes": change.bytes,
                        ":failed": change.failed,
                    }
                ),
            }
        }

    def _get(self, key: Mapping[str, Any]) -> dict[str, Any] | None:
        item = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True).get("Item")
        return dynamo.from_item(item) if item else None


def type_of(value: Attribute) -> str:
    """`text`, `number` or `boolean`."""
    if isinstance(value, bool):
        return "boolean"
    return "text" if isinstance(value, str) else "number"


def _unchanged(old: Kept | None) -> dict[str, Any]:
    if old is None:
        return {"ConditionExpression": "attribute_not_exists(pk)"}
    return {
        "ConditionExpression": "sequencer = :old AND generations = :generations",
        "ExpressionAttributeValues": dynamo.to_item(
            {
                ":old": old.document.sequencer,
                ":generations": {str(number): chunks for number, chunks in old.generations.items()},
            }
        ),
    }


def _kept(item: Mapping[str, Any]) -> Kept:
    generations = {int(number): int(chunks) for number, chunks in item["generations"].items()}
    return Kept(rows.document_of(item), generations)
