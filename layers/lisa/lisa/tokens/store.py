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

from lisa import dynamo
from lisa.errors import Conflict
from lisa.tokens.record import KEPT_AFTER_EXPIRY, ApiToken

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

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
        item = dynamo.to_item(token.attributes())
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

    def page_of(
        self, user: str, *, limit: int | None, after: str | None
    ) -> tuple[list[ApiToken], str | None]:
        """A user's tokens by name, after the name `after`; and the name to go on after, or None at the end.

        Without `limit`, all that are left.
        """
        return self._page(f"USER#{user}", limit, after)

    def page(self, *, limit: int | None, after: str | None) -> tuple[list[ApiToken], str | None]:
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
        return ApiToken.from_attributes(dynamo.from_item(item)) if item else None

    def _page(self, pk: str, limit: int | None, after: str | None) -> tuple[list[ApiToken], str | None]:
        items, last = dynamo.page(self._client, self._table, pk, limit=limit, after=after)
        return [ApiToken.from_attributes(item) for item in items], last


def _keys(token: ApiToken) -> tuple[dict[str, Any], ...]:
    return _hash_key(token.digest), _uuid_key(token.uuid), dynamo.key(f"USER#{token.user}", token.name)


def _hash_key(digest: str) -> dict[str, Any]:
    return dynamo.key(f"HASH#{digest}", "TOKEN")


def _uuid_key(uuid: str) -> dict[str, Any]:
    return dynamo.key("TOKEN", uuid)


def _used_key(uuid: str) -> dict[str, Any]:
    return dynamo.key("USED", uuid)


def _reasons(error: Any) -> list[dict[str, Any]]:
    reasons: list[dict[str, Any]] = error.response.get("CancellationReasons", [])
    return reasons
