from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from lisa.rag.documents.queue import WorkQueue
from lisa.rag.documents.service import DocumentService
from lisa.rag.documents.stores import Stores
from lisa.rag.documents.uploads import Uploads
from lisa.rag.repositories.lookup import Lookup
from lisa.rag.repositories.store import RepositoryStore
from moto import mock_aws

from tests.unit.rag.people import collection, repository
from tests.unit.tables import create_table

TABLE, REPOSITORIES, BUCKET, QUEUE = "documents", "repositories", "drop", "work"
MEBIBYTE = 1 << 20


class Clock:
    """A clock that stands still until a test moves it; in seconds."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    @property
    def ms(self) -> int:
        return int(self.now * 1000)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        yield


@pytest.fixture
def dynamodb(aws: None) -> Any:
    client = boto3.client("dynamodb")
    create_table(client, TABLE, indexes={"by-place": ("place", "at"), "by-owner": ("ownedBy", "at")})
    create_table(client, REPOSITORIES)
    return client


@pytest.fixture
def stores(dynamodb: Any) -> Stores:
    return Stores.of(TABLE, dynamodb)


@pytest.fixture
def repositories(dynamodb: Any) -> RepositoryStore:
    """A repository `library` with its default collection and one that is called `Case Law`."""
    store = RepositoryStore(REPOSITORIES, dynamodb)
    store.create_repository(repository())
    store.create_collection(collection("mini", is_default=True))
    store.create_collection(collection("c-1", name="Case Law"))
    return store


@pytest.fixture
def sqs(aws: None) -> Any:
    return boto3.client("sqs")


@pytest.fixture
def queue_url(sqs: Any) -> str:
    return str(sqs.create_queue(QueueName=QUEUE)["QueueUrl"])


@pytest.fixture
def queue(sqs: Any, queue_url: str) -> WorkQueue:
    return WorkQueue(queue_url, sqs)


@pytest.fixture
def uploads(aws: None) -> Uploads:
    return Uploads(BUCKET, boto3.client("s3"), max_bytes=MEBIBYTE)


@pytest.fixture
def service(
    dynamodb: Any,
    repositories: RepositoryStore,
    stores: Stores,
    uploads: Uploads,
    queue: WorkQueue,
    clock: Clock,
) -> DocumentService:
    return DocumentService(dynamodb, Lookup(repositories), stores, uploads, queue, clock=clock)
