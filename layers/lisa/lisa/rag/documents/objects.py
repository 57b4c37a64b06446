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
    expected, in epoch milliseconds.
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
    since: int = 0
    wishes: Wishes = Wishes()


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a change: `state` is set when it is ours to work on, and `older` when a newer one is known."""

    state: ObjectState | None
    older: bool = False


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
            **_open(change.document_id, now),
        }
        return {"Update": self._setting(change.document_id, new)}

    def take(self, change: Change, *, now: int) -> Taken:
        """Makes a change the newest of its object, unless it is not; `now` in epoch milliseconds."""
        new = {
            **_place_values(change),
            "sequencer": change.sequencer,
            "kind": str(change.kind),
            "etag": change.etag,
            "size": change.size,
            "done": False,
            "since": now,
            **_open(change.document_id, now),
        }
        update = self._setting(change.document_id, new)
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
            return Taken(None if known.done else known)
        return Taken(record(ObjectState, dynamo.from_item(answer["Attributes"])))

    def open_again(self, state: ObjectState, *, now: int, **new: Any) -> Any:
        """The action of a transaction that asks for work on an object once more, as long as it is as in `state`."""
        update = self._setting(
            state.document_id,
            {**new, "done": False, "since": now, **_open(state.document_id, now)},
        )
        if state.sequencer:
            update["ExpressionAttributeNames"]["#known"] = "sequencer"
            update["ExpressionAttributeValues"][":known"] = {"S": state.sequencer}
            update["ConditionExpression"] = "#known = :known"
        else:
            update["ConditionExpression"] = "attribute_not_exists(sequencer) OR sequencer = :none"
            update["ExpressionAttributeValues"][":none"] = {"S": ""}
        return {"Update": update}

    def close(self, document_id: str, sequencer: str, *, forget_at: int | None = None) -> Any:
        """The action of a transaction that says that all is done about a version, as long as it is the newest.

        `forget_at` (epoch seconds) is when a removed object may be forgotten.
        """
        update: dict[str, Any] = {
            "TableName": self._table,
            "Key": rows.object_key(document_id),
            "UpdateExpression": "SET done = :true"
            + (", expiresAt = :gone" if forget_at is not None else "")
            + " REMOVE place, #at",
            "ConditionExpression": "sequencer = :sequencer",
            "ExpressionAttributeNames": {"#at": "at"},
            "ExpressionAttributeValues": {":true": {"BOOL": True}, ":sequencer": {"S": sequencer}},
        }
        if forget_at is not None:
            update["ExpressionAttributeValues"][":gone"] = {"N": str(forget_at)}
        return {"Update": update}

    def open_since(self, before: int) -> Iterator[ObjectState]:
        """Objects about which something was begun before this moment (epoch milliseconds) and is not done."""
        for partition in range(rows.TAKEN_PARTITIONS):
            pages = self._client.get_paginator("query").paginate(
                TableName=self._table,
                IndexName="by-place",
                KeyConditionExpression="place = :place AND #at < :before",
                ExpressionAttributeNames={"#at": "at"},
                ExpressionAttributeValues={
                    ":place": {"S": f"TAKEN#{partition}"},
                    ":before": {"S": rows.at(before, "")},
                },
            )
            for page in pages:
                yield from (record(ObjectState, dynamo.from_item(item)) for item in page["Items"])

    def states(self, document_ids: Iterable[str]) -> dict[str, ObjectState]:
        """Those of these objects that are known."""
        keys = [rows.object_key(each) for each in dict.fromkeys(document_ids)]
        items = dynamo.batch_get(self._client, self._table, keys)
        found = [record(ObjectState, item) for item in items]
        return {state.document_id: state for state in found}

    def _setting(self, document_id: str, new: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "TableName": self._table,
            "Key": rows.object_key(document_id),
            "UpdateExpression": "SET " + ", ".join(f"#{name} = :{name}" for name in new),
            "ExpressionAttributeNames": {f"#{name}": name for name in new},
            "ExpressionAttributeValues": dynamo.to_item({f":{name}": value for name, value in new.items()}),
        }


def _place_values(change: Change) -> dict[str, Any]:
    return {
        "document_id": change.document_id,
        "repository_id": change.repository_id,
        "collection_id": change.collection_id,
        "bucket": change.bucket,
        "key": change.key,
        "pipeline": change.pipeline,
    }


def _open(document_id: str, now: int) -> dict[str, Any]:
    """Puts it into the index of what is not settled."""
    return {"place": rows.taken_place(document_id), "at": rows.at(now, document_id)}
