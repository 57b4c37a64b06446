from collections.abc import Iterator

import boto3
import pytest
from lisa.tokens.store import TokenStore
from moto import mock_aws

from tests.unit.tables import create_table

TABLE = "tokens"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[TokenStore]:
    """A tokens table in moto."""
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        client = boto3.client("dynamodb", region_name="us-east-1")
        create_table(client, TABLE)
        yield TokenStore(TABLE, client)
