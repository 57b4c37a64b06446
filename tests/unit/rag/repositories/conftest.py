from collections.abc import Iterator

import boto3
import pytest
from lisa.rag.repositories.store import RepositoryStore
from moto import mock_aws

from tests.unit.tables import create_table

TABLE = "repositories"
MODELS_TABLE = "models"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[RepositoryStore]:
    """A repositories table in moto, and beside it one of models."""
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        client = boto3.client("dynamodb", region_name="us-east-1")
        create_table(client, TABLE)
        create_table(client, MODELS_TABLE)
        yield RepositoryStore(TABLE, client)
