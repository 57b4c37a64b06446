"""What we know of an object in S3: its newest version, and whether what has to be done about it is done.

Events come twice and in any order. A version is taken by one conditional write, so an older one that comes late
changes nothing, and the same one again goes on where it was left.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from lisa import dynamo
from lisa.rag.documents import naming, rows
from lisa.rag.records import Attribute, Chunking
from lisa.rag.rows import record, values

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient


class Kind(StrEnum):
    CREATED = "created"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What was asked for an object when it was uploaded; empty for a file that was dropped into a folder."""

    owner: str = ""
    name: str = ""
    chunking: Chunking | None = None
    tags: tuple[str, ...] = ()
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """A version of an object that appeared, or its removal. `size` is in bytes, `pipeline` as in `document_id`."""

    document_id: str
    repository_id: str
    collection_id: str
    bucket: str
    key: str
    sequencer: str
    kind: Kind
    etag: str = ""
    size: int = 0
    pipeline: str = ""


@dataclass(frozen=True, slots=True)
class ObjectState:
    """`job_id` is the job for `sequencer`; `expected` one that waits for the event of an upload.

    `sequencer` is empty for an object of which only the upload is known. `since` is when it was last taken or
    expected, in epoch milliseconds; `attempts` counts the tries at this version; `failed` says how the last work on
    the object ended.
    """

    document_id: str
    repository_id: str
    collection_id: str
    bucket: str
    key: str
    sequencer: str = ""
    kind: Kind = Kind.CREATED
    etag: str = ""
    size: int = 0
    pipeline: str = ""
    job_id: str = ""
    expected: str = ""
    done: bool = False
    failed: bool = False
    attempts: int = 0
    since: int = 0
    wishes: Wishes = Wishes()


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a change: `state` is set when it is ours to work on, `again` when that was begun before, and
    `older` when a newer one is known."""

    state: ObjectState | None
    older: bool = False
    again: bool = False


class ObjectStore:
    """`client` is a low-level DynamoDB client."""

    def __init__(self, table_name: str, client: "DynamoDBClient") -> None:
        self._table = table_name
        self._client = client

    def get(self, document_id: str) -> ObjectState | None:
        answer = self._client.get_item(
            TableName=self._table, Key=rows.object_key(document_id), ConsistentRead=True
        )
        item = answer.get("Item")
        return record(ObjectState, dynamo.from_item(item)) if item else None

    def expect(self, change: Change, job_id: str, wishes: Wishes, *, now: int) -> Any:
        """The action of a transaction that announces an upload: the job that its event will belong to."""
        new = {
            **_place_values(change),
            "expected": job_id,
            "wishes": values(wishes),
            "since": now,
            "place": rows.taken_place(change.document_id),
        }
        return {"Update": self._setting(change.document_id, new, now)}

    def take(self, change: Change, *, now: int) -> Taken:
        """Makes a change the newest of its object, unless it is not; `now` in epoch milliseconds."""
        new = {
            **_place_values(change),
            "sequencer": change.sequencer,
            "kind": str(change.kind),
            "etag": change.etag,
            "size": change.size,
            "done": False,
            "attempts": 1,
            "since": now,
            "place": rows.taken_place(change.document_id),
        }
        update = self._setting(change.document_id, new, now)
        own_job = naming.job_id(change.document_id, change.sequencer)
        update["ExpressionAttributeNames"]["#job"] = "job_id"
        update["ExpressionAttributeValues"][":job"] = {"S": own_job}
        if change.kind is Kind.CREATED:
            update["ExpressionAttributeNames"]["#expected"] = "expected"
            update["UpdateExpression"] += (
                ", #job = if_not_exists(#expected, :job) REMOVE #expected, expiresAt"
            )
        else:
            update["UpdateExpression"] += ", #job = :job REMOVE expiresAt"
        try:
            answer = self._client.update_item(
                **update,
                ConditionExpression="attribute_not_exists(#sequencer) OR #sequencer < :sequencer",
                ReturnValues="ALL_NEW",
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            known = self.get(change.document_id)
            if known is None or known.sequencer != change.sequencer:
                return Taken(None, older=True)
            return Taken(None) if known.done else Taken(known, again=True)
        return Taken(record(ObjectState, dynamo.from_item(answer["Attributes"])))

    def open_again(self, state: ObjectState, *, now: int, **new: Any) -> Any:
        """The action of a transaction that asks for work on an object once more, as long as it is as in `state`.

        With a new `job_id` that was expected, it is expected no more.
        """
        update = self._setting(
            state.document_id,
            {
                **new,
                "done": False,
                "attempts": 0,
                "since": now,
                "place": rows.taken_place(state.document_id),
            },
            now,
        )
        if state.sequencer:
            update["ExpressionAttributeNames"]["#known"] = "sequencer"
            update["ExpressionAttributeValues"][":known"] = {"S": state.sequencer}
            update["ConditionExpression"] = "#known = :known"
        else:
            update["ConditionExpression"] = "attribute_not_exists(sequencer) OR sequencer = :none"
            update["ExpressionAttributeValues"][":none"] = {"S": ""}
        if state.expected and new.get("job_id"):
            update["UpdateExpression"] += " REMOVE expected"
        return {"Update": update}

    def wishing(self, state: ObjectState, wishes: Wishes) -> Any:
        """The action of a transaction that changes what was asked for an object, as long as its version is this."""
        update: dict[str, Any] = {
            "TableName": self._table,
            "Key": rows.object_key(state.document_id),
            "UpdateExpression": "SET wishes = :wishes",
            "ConditionExpression": "sequencer = :sequencer" if state.sequencer else "attribute_exists(pk)",
            "ExpressionAttributeValues": dynamo.to_item(
                {":wishes": values(wishes)} | ({":sequencer": state.sequencer} if state.sequencer else {})
            ),
        }
        return {"Update": update}

    def try_again(self, state: ObjectState, *, now: int) -> ObjectState | None:
        """Counts one more try at a version that is not done; None when it is, or is not the newest any more."""
        try:
            answer = self._client.update_item(
                TableName=self._table,
                Key=rows.object_key(state.document_id),
                UpdateExpression="SET since = :now ADD attempts :one",
                ConditionExpression="sequencer = :sequencer AND done = :false",
                ExpressionAttributeValues=dynamo.to_item(
                    {":now": now, ":one": 1, ":sequencer": state.sequencer, ":false": False}
                ),
                ReturnValues="ALL_NEW",
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return None
        return record(ObjectState, dynamo.from_item(answer["Attributes"]))

    def close(
        self, document_id: str, sequencer: str, *, failed: bool = False, forget_at: int | None = None
    ) -> Any:
        """The action of a transaction that says that all is done about a version, as long as it is the newest.

        `forget_at` (epoch seconds) is when a removed object may be forgotten.
        """
        forgotten = forget_at is not None
        update: dict[str, Any] = {
            "TableName": self._table,
            "Key": rows.object_key(document_id),
            "UpdateExpression": "SET done = :true, failed = :failed"
            + (", expiresAt = :gone REMOVE place, ownedBy" if forgotten else " REMOVE place"),
            "ConditionExpression": "sequencer = :sequencer AND done = :false",
            "ExpressionAttributeValues": dynamo.to_item(
                {":true": True, ":false": False, ":failed": failed, ":sequencer": sequencer}
                | ({":gone": forget_at} if forgotten else {})
            ),
        }
        return {"Update": update}

    def open_since(self, before: int) -> Iterator[ObjectState]:
        """Objects about which something was begun before this moment (epoch milliseconds) and is not done."""
        for partition in range(rows.TAKEN_PARTITIONS):
            pages = self._client.get_paginator("query").paginate(
                TableName=self._table,
                IndexName=rows.BY_PLACE[0],
                KeyConditionExpression="place = :place",
                FilterExpression="since < :before",
                ExpressionAttributeValues=dynamo.to_item({":place": f"TAKEN#{partition}", ":before": before}),
            )
            for page in pages:
                yield from (record(ObjectState, dynamo.from_item(item)) for item in page["Items"])

    def of_collection(
        self,
        repository_id: str,
        collection_id: str,
        *,
        limit: int | None = None,
        after: str | None = None,
        newest_first: bool = False,
    ) -> tuple[list[ObjectState], str | None]:
        """Objects of a collection, those too that are not ingested (yet), by when they were first heard of.

        And the key to go on after, None at the end. What was just written may be missing.
        """
        items, last = dynamo.index_page(
            self._client,
            self._table,
            index=rows.BY_OWNER,
            value=rows.objects_of(repository_id, collection_id),
            limit=limit,
            after=after,
            newest_first=newest_first,
        )
        return [record(ObjectState, item) for item in items], last

    def place_in_collection(self, document_id: str, repository_id: str, collection_id: str) -> str | None:
        """The key to go on after this object with `of_collection`; None when it is not in there."""
        key = rows.object_key(document_id)
        item = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True).get("Item", {})
        if item.get("ownedBy") != {"S": rows.objects_of(repository_id, collection_id)}:
            return None
        return f"{item['at']['S']}|{item['pk']['S']}|{item['sk']['S']}"

    def states(self, document_ids: Iterable[str]) -> dict[str, ObjectState]:
        """Those of these objects that are known."""
        keys = [rows.object_key(each) for each in dict.fromkeys(document_ids)]
        items = dynamo.batch_get(self._client, self._table, keys)
        found = [record(ObjectState, item) for item in items]
        return {state.document_id: state for state in found}

    def _setting(self, document_id: str, new: Mapping[str, Any], now: int) -> dict[str, Any]:
        """Sets attributes, and when the object was first heard of, by which it is listed."""
        first = rows.at(now, document_id)
        return {
            "TableName": self._table,
            "Key": rows.object_key(document_id),
            "UpdateExpression": "SET "
            + ", ".join(f"#{name} = :{name}" for name in new)
            + ", #at = if_not_exists(#at, :at)",
            "ExpressionAttributeNames": {"#at": "at", **{f"#{name}": name for name in new}},
            "ExpressionAttributeValues": dynamo.to_item(
                {":at": first, **{f":{name}": value for name, value in new.items()}}
            ),
        }


def _place_values(change: Change) -> dict[str, Any]:
    return {
        "document_id": change.document_id,
        "repository_id": change.repository_id,
        "collection_id": change.collection_id,
        "bucket": change.bucket,
        "key": change.key,
        "pipeline": change.pipeline,
        "ownedBy": rows.objects_of(change.repository_id, change.collection_id),
    }
