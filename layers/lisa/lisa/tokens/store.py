"""API tokens in DynamoDB, found by key in every way they are looked for.

| pk | sk | what |
| --- | --- | --- |
| `HASH#<sha-256>` | `TOKEN` | the token, for who has to check it: the gateway and the authorizer read nothing else |
| `TOKEN` | uuid | the same, for its UUID, and for a list of all |
| `USER#<user>` | name | the same, for a list of a user's own; makes names unique |
| `USED` | uuid | when it was last used; all that the gateway and the authorizer may write |

The first three are written and deleted in one transaction and never changed.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from lisa.errors import Conflict
from lisa.tokens.record import KEPT_AFTER_EXPIRY, ApiToken

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

_SERIALIZE = TypeSerializer().serialize
_DESERIALIZE = TypeDeserializer().deserialize
_BATCH = 100  # keys of one BatchGetItem


class TokenStore:
    """`client` is a low-level DynamoDB client."""

    def __init__(self, table_name: str, client: "DynamoDBClient") -> None:
        self._table = table_name
        self._client = client

    def by_digest(self, digest: str) -> ApiToken | None:
        return self._get(_hash_key(digest))

    def by_uuid(self, uuid: str) -> ApiToken | None:
        return self._get(_uuid_key(uuid))

    def create(self, token: ApiToken) -> None:
        """Raises Conflict when the user has a token of that name."""
        item = {name: _SERIALIZE(value) for name, value in token.attributes().items()}
        puts: Any = [
            {
                "Put": {
                    "TableName": self._table,
                    "Item": item | key,
                    "ConditionExpression": "attribute_not_exists(pk)",
                }
            }
            for key in _keys(token)
        ]
        try:
            self._client.transact_write_items(TransactItems=puts, ClientRequestToken=token.uuid)
        except self._client.exceptions.TransactionCanceledException as error:
            if not any(reason.get("Code") == "ConditionalCheckFailed" for reason in _reasons(error)):
                raise
            raise Conflict(
                f"{token.user} has a token named {token.name!r} already: choose another name, or revoke that one.",
                code="token_exists",
                field="name",
            ) from None

    def delete(self, token: ApiToken) -> None:
        """Whatever of it is there; the row by which it is checked goes with the others or not at all."""
        deletes: Any = [{"Delete": {"TableName": self._table, "Key": key}} for key in _keys(token)]
        deletes.append({"Delete": {"TableName": self._table, "Key": _used_key(token.uuid)}})
        self._client.transact_write_items(TransactItems=deletes)

    def count_of(self, user: str) -> int:
        """How many tokens a user has, expired ones too."""
        answer = self._client.query(
            TableName=self._table,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": f"USER#{user}"}},
            Select="COUNT",
            ConsistentRead=True,
        )
        return answer["Count"]

    def page_of(self, user: str, *, limit: int, after: str | None) -> tuple[list[ApiToken], str | None]:
        """A user's tokens by name, after the name `after`; and the name to go on after, or None at the end."""
        return self._page(f"USER#{user}", limit, after)

    def page(self, *, limit: int, after: str | None) -> tuple[list[ApiToken], str | None]:
        """Everybody's tokens by UUID."""
        return self._page("TOKEN", limit, after)

    def used(self, uuids: Iterable[str]) -> dict[str, int]:
        """When these tokens were last used; those that never were are missing."""
        wanted: list[Any] = [_used_key(uuid) for uuid in uuids]
        found: dict[str, int] = {}
        while wanted:
            answer = self._client.batch_get_item(RequestItems={self._table: {"Keys": wanted[:_BATCH]}})
            for item in answer["Responses"].get(self._table, []):
                found[item["sk"]["S"]] = int(item["usedAt"]["N"])
            left = answer.get("UnprocessedKeys", {}).get(self._table)
            wanted = [*(left["Keys"] if left else ()), *wanted[_BATCH:]]
        return found

    def mark_used(self, uuid: str, at: int, expires_at: int) -> None:
        """Notes a use. The note goes when the token does, or some time after a revoked one would have."""
        self._client.update_item(
            TableName=self._table,
            Key=_used_key(uuid),
            UpdateExpression="SET usedAt = :at, expiresAt = :gone",
            ExpressionAttributeValues={
                ":at": {"N": str(at)},
                ":gone": {"N": str(expires_at + KEPT_AFTER_EXPIRY)},
            },
        )

    def _get(self, key: Mapping[str, Any]) -> ApiToken | None:
        item = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True).get("Item")
        return _token(item) if item else None

    def _page(self, pk: str, limit: int, after: str | None) -> tuple[list[ApiToken], str | None]:
        tokens: list[ApiToken] = []
        query: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": "pk = :pk",
            "ExpressionAttributeValues": {":pk": {"S": pk}},
            "ConsistentRead": True,
        }
        if after is not None:
            query["ExclusiveStartKey"] = {"pk": {"S": pk}, "sk": {"S": after}}
        while True:
            answer = self._client.query(**query, Limit=limit - len(tokens))
            tokens += [_token(item) for item in answer["Items"]]
            last = answer.get("LastEvaluatedKey")
            if last is None:
                return tokens, None
            if len(tokens) >= limit:
                return tokens, last["sk"]["S"]
            query["ExclusiveStartKey"] = last


def _keys(token: ApiToken) -> tuple[dict[str, Any], ...]:
    user = {"pk": {"S": f"USER#{token.user}"}, "sk": {"S": token.name}}
    return _hash_key(token.digest), _uuid_key(token.uuid), user


def _hash_key(digest: str) -> dict[str, Any]:
    return {"pk": {"S": f"HASH#{digest}"}, "sk": {"S": "TOKEN"}}


def _uuid_key(uuid: str) -> dict[str, Any]:
    return {"pk": {"S": "TOKEN"}, "sk": {"S": uuid}}


def _used_key(uuid: str) -> dict[str, Any]:
    return {"pk": {"S": "USED"}, "sk": {"S": uuid}}


def _token(item: Mapping[str, Any]) -> ApiToken:
    return ApiToken.from_attributes({name: _DESERIALIZE(value) for name, value in item.items()})


def _reasons(error: Any) -> list[dict[str, Any]]:
    reasons: list[dict[str, Any]] = error.response.get("CancellationReasons", [])
    return reasons
