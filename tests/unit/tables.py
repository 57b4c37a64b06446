"""The key schema that our tables share: `pk` and `sk`, both strings (stacks/data.yaml)."""

from typing import Any


def create_table(client: Any, name: str) -> None:
    """A table in moto or in the emulator; `client` is a low-level DynamoDB client."""
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "S"},
        ],
        KeySchema=[
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
    )
