from collections.abc import Iterator
from typing import Any

import pytest
from lisa import aws as clients
from lisa.models.priorities import PriorityStore
from lisa.models.routes import RouteStore
from lisa.models.store import ModelStore
from moto import mock_aws

from tests.unit.tables import create_table

TABLE = "models"


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield


@pytest.fixture
def dynamodb(aws: None) -> Any:
    client = clients.dynamodb()
    create_table(client, TABLE)
    return client


@pytest.fixture
def models(dynamodb: Any) -> ModelStore:
    return ModelStore(TABLE, dynamodb)


@pytest.fixture
def routes(dynamodb: Any, clock: Clock) -> RouteStore:
    return RouteStore(TABLE, dynamodb, clock=clock)


@pytest.fixture
def priorities(dynamodb: Any) -> PriorityStore:
    return PriorityStore(TABLE, dynamodb)
