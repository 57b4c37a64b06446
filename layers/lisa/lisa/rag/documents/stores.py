"""The stores of documents, jobs and objects, which lie in one table and are written together."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lisa.rag.documents.jobs import JobStore
from lisa.rag.documents.objects import ObjectStore
from lisa.rag.documents.store import DocumentStore

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient


@dataclass(frozen=True, slots=True)
class Stores:
    documents: DocumentStore
    jobs: JobStore
    objects: ObjectStore

    @classmethod
    def of(cls, table: str, client: "DynamoDBClient") -> "Stores":
        return cls(DocumentStore(table, client), JobStore(table, client), ObjectStore(table, client))
