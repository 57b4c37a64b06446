"""Repositories and collections in DynamoDB. Every write is conditional: what comes twice or late changes nothing.

| pk | sk | what |
| --- | --- | --- |
| `REPOSITORY` | id | a repository |
| `COLLECTION#<repository>` | id | a collection of it |
| `NAME#<repository>` | name | which collection has this name; makes names unique |
| `DEFAULT#<repository>` | `DEFAULT` | which collection takes what names none |

`version` grows with each wish of people; `attempt` with each try of a workflow to fulfil it; `settled` is the version
whose workflow has ended.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lisa import dynamo
from lisa.errors import Conflict
from lisa.rag.records import Collection, CollectionStatus, Repository, RepositoryStatus
from lisa.rag.rows import record, values

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

Kept = Repository | Collection


@dataclass(frozen=True, slots=True)
class Row:
    """A record with what only its workflows need to know."""

    record: Kept
    attempt: int
    is_settled: bool = False


class RepositoryStore:
    """`client` is a low-level DynamoDB client."""

    def __init__(self, table_name: str, client: "DynamoDBClient") -> None:
        self._table = table_name
        self._client = client

    def repository(self, repository_id: str) -> Repository | None:
        item = self._get("REPOSITORY", repository_id)
        return record(Repository, item) if item else None

    def repositories(self) -> list[Repository]:
        """All, by id."""
        return [record(Repository, item) for item in self._all("REPOSITORY")]

    def collection(self, repository_id: str, collection_id: str) -> Collection | None:
        item = self._get(f"COLLECTION#{repository_id}", collection_id)
        return record(Collection, item) if item else None

    def collection_named(self, repository_id: str, name: str) -> Collection | None:
        return self._referred(repository_id, f"NAME#{repository_id}", name)

    def default_collection(self, repository_id: str) -> Collection | None:
        return self._referred(repository_id, f"DEFAULT#{repository_id}", "DEFAULT")

    def collections(self, repository_id: str) -> list[Collection]:
        """All of a repository, by id."""
        return [record(Collection, item) for item in self._all(f"COLLECTION#{repository_id}")]

    def user_of_model(self, model_id: str) -> str | None:
        """A collection or repository, in words, that embeds with this model; None when there is none."""
        for repository in self.repositories():
            for collection in self.collections(repository.id):
                if collection.embedding_model == model_id:
                    return f"the collection {collection.name!r} in the repository {repository.id}"
            if repository.embedding_model_id == model_id:
                return f"the repository {repository.id}"
        return None

    def rows(self) -> Iterator[Row]:
        """Everything there is, for who looks after it."""
        for item in self._all("REPOSITORY"):
            repository = record(Repository, item)
            yield _row(repository, item)
            for part in self._all(f"COLLECTION#{repository.id}"):
                yield _row(record(Collection, part), part)

    def row(self, pk: str, sk: str) -> Row | None:
        """What lies under a key of the table's stream; None where it is gone, or is no record."""
        kind: type[Kept] = Repository if pk == "REPOSITORY" else Collection
        item = self._get(pk, sk)
        return _row(record(kind, item), item) if item and "attempt" in item else None

    def create_repository(self, repository: Repository, default: Collection | None = None) -> None:
        """A repository, with its default collection where it has one. Raises Conflict when the id is taken."""
        puts = [_put(self._table, _item(repository))]
        if not dynamo.transact(self._client, puts + (self._new(default) if default else [])):
            raise Conflict(
                f"There is a repository {repository.id!r} already: choose another repositoryId, or delete it first.",
                code="repository_exists",
                field="repositoryId",
            )

    def create_collection(self, collection: Collection) -> None:
        """Raises Conflict when the name or the id is taken, or the repository is gone or going."""
        there = {
            "ConditionCheck": {
                "TableName": self._table,
                "Key": dynamo.key("REPOSITORY", collection.repository_id),
                "ConditionExpression": "attribute_exists(pk) AND NOT begins_with(#status, :going)",
                "ExpressionAttributeNames": {"#status": "status"},
                "ExpressionAttributeValues": {":going": {"S": "DELETE"}},
            }
        }
        if not dynamo.transact(self._client, [there, *self._new(collection)]):
            raise Conflict(
                f"The repository {collection.repository_id} has a collection named {collection.name!r} already, or is "
                "being deleted: choose another name.",
                code="collection_exists",
                field="name",
            )

    def change(self, old: Kept, new: Kept) -> bool:
        """Puts a record in the place of another; False when that one is not the newest any more.

        Raises Conflict when a collection's new name is taken. `new` carries its own, later `version`.
        """
        put = _put(self._table, _item(new))["Put"] | {
            "ConditionExpression": "version = :version",
            "ExpressionAttributeValues": {":version": {"N": str(old.version)}},
        }
        writes: list[Any] = [{"Put": put}]
        if isinstance(old, Collection) and isinstance(new, Collection) and old.name != new.name:
            if self._get(f"NAME#{new.repository_id}", new.name):
                raise Conflict(
                    f"The repository {new.repository_id} has a collection named {new.name!r} already.",
                    code="collection_exists",
                    field="name",
                )
            writes += [self._claim(new), _delete(self._table, _name_key(old))]
        return dynamo.transact(self._client, writes)

    def set_status(
        self, kept: Kept, status: RepositoryStatus | CollectionStatus, reason: str = "", *, now: int
    ) -> bool:
        """What a workflow found at its end. False when its wish is not the newest any more."""
        return self._update(
            kept,
            "SET #status = :status, reason = :reason, updated_at = :now, settled = :version",
            {":status": str(status), ":reason": reason, ":now": now, ":version": kept.version},
            "version = :version",
        )

    def try_again(self, row: Row, *, now: int) -> bool:
        """Raises the attempt, which starts the workflow again. False when the row has changed meanwhile."""
        return self._update(
            row.record,
            "SET attempt = attempt + :one, updated_at = :now",
            {":one": 1, ":now": now, ":version": row.record.version, ":attempt": row.attempt},
            "version = :version AND attempt = :attempt",
        )

    def forget(self, kept: Kept) -> bool:
        """Removes a record and the names that lead to it; False when a newer wish has been made."""
        first = _delete(self._table, _key(kept))["Delete"] | {
            "ConditionExpression": "attribute_not_exists(pk) OR version = :version",
            "ExpressionAttributeValues": {":version": {"N": str(kept.version)}},
        }
        writes: list[Any] = [{"Delete": first}]
        if isinstance(kept, Collection):
            writes.append(_delete(self._table, _name_key(kept)))
            if kept.is_default:
                writes.append(_delete(self._table, _default_key(kept)))
        return dynamo.transact(self._client, writes)

    def _new(self, collection: Collection) -> list[Any]:
        puts = [_put(self._table, _item(collection)), self._claim(collection)]
        if collection.is_default:
            puts.append(_put(self._table, _reference(_default_key(collection), collection)))
        return puts

    def _claim(self, collection: Collection) -> Any:
        return _put(self._table, _reference(_name_key(collection), collection))

    def _referred(self, repository_id: str, pk: str, sk: str) -> Collection | None:
        found = self._get(pk, sk)
        return self.collection(repository_id, str(found["collection_id"])) if found else None

    def _get(self, pk: str, sk: str) -> dict[str, Any] | None:
        if not pk or not sk or len(sk.encode()) > 1024 or len(pk.encode()) > 2048:
            return None  # longer than any key: it cannot be there, and DynamoDB would not even look
        answer = self._client.get_item(TableName=self._table, Key=dynamo.key(pk, sk), ConsistentRead=True)
        item = answer.get("Item")
        return dynamo.from_item(item) if item else None

    def _all(self, pk: str) -> list[dict[str, Any]]:
        return dynamo.page(self._client, self._table, pk)[0]

    def _update(self, kept: Kept, expression: str, new: Mapping[str, Any], condition: str) -> bool:
        extra: dict[str, Any] = (
            {"ExpressionAttributeNames": {"#status": "status"}} if "#status" in expression else {}
        )
        try:
            self._client.update_item(
                TableName=self._table,
                Key=_key(kept),
                UpdateExpression=expression,
                ConditionExpression=condition,
                ExpressionAttributeValues=dynamo.to_item(new),
                **extra,
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True


def _row(kept: Kept, item: Mapping[str, Any]) -> Row:
    return Row(kept, int(item["attempt"]), int(item["settled"]) == kept.version)


def _item(kept: Kept) -> dict[str, Any]:
    return dynamo.to_item(values(kept) | {"attempt": 1, "settled": 0}) | _key(kept)


def _key(kept: Kept) -> dict[str, Any]:
    if isinstance(kept, Repository):
        return dynamo.key("REPOSITORY", kept.id)
    return dynamo.key(f"COLLECTION#{kept.repository_id}", kept.id)


def _name_key(collection: Collection) -> dict[str, Any]:
    return dynamo.key(f"NAME#{collection.repository_id}", collection.name)


def _default_key(collection: Collection) -> dict[str, Any]:
    return dynamo.key(f"DEFAULT#{collection.repository_id}", "DEFAULT")


def _reference(key: dict[str, Any], collection: Collection) -> dict[str, Any]:
    return key | {"collection_id": {"S": collection.id}}


def _put(table: str, item: dict[str, Any]) -> dict[str, Any]:
    return {"Put": {"TableName": table, "Item": item, "ConditionExpression": "attribute_not_exists(pk)"}}


def _delete(table: str, key: dict[str, Any]) -> dict[str, Any]:
    return {"Delete": {"TableName": table, "Key": key}}
