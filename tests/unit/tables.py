"""The key schema that our tables share: `pk` and `sk`, both strings (stacks/data.yaml)."""

from collections.abc import Mapping
from typing import Any


def create_table(client: Any, name: str, *, indexes: Mapping[str, tuple[str, str]] | None = None) -> None:
    """A table in moto or in the emulator; `client` is a low-level DynamoDB client.

    `indexes` names the partition and the sort key of each, strings too.
    """
    attributes = {"pk", "sk", *(key for keys in (indexes or {}).values() for key in keys)}
    more: dict[str, Any] = {}
    if indexes:
        more["GlobalSecondaryIndexes"] = [
            {
                "IndexName": index,
                "KeySchema": [
                    {"AttributeName": partition, "KeyType": "HASH"},
                    {"AttributeName": sort, "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
            for index, (partition, sort) in indexes.items()
        ]
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": each, "AttributeType": "S"} for each in sorted(attributes)],
        KeySchema=[
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
        **more,
    )
