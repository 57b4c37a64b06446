"""Which store a repository lies in, and how a process signs in to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from lisa import aws
from lisa.errors import InvalidRequest
from lisa.rag.records import Connection, Repository, StoreType
from lisa.rag.vectors import connect
from lisa.rag.vectors.base import Index, Visibility
from lisa.rag.vectors.pgvector import Address, PgvectorStore
from lisa.settings import Settings
from moto import mock_aws

REPOSITORY = Repository("default", StoreType.PGVECTOR, "Default")


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_REGION", "eu-west-1"),
        ("AWS_DEFAULT_REGION", "eu-west-1"),
    ):
        monkeypatch.setenv(name, value)
    with mock_aws():
        aws.secrets_manager.cache_clear()
        yield
        aws.secrets_manager.cache_clear()


@pytest.fixture(autouse=True)
def none_open() -> Iterator[None]:
    connect._stores.clear()
    yield
    connect.close_stores()
    connect._stores.clear()


def address(repository: Repository, settings: Settings) -> Address:
    store = connect.open_store(repository, settings)
    assert isinstance(store, PgvectorStore)
    return store._connections._address


def secret(content: str) -> str:
    made = boto3.client("secretsmanager").create_secret(Name="lisa/stores/x", SecretString=content)
    return str(made["ARN"])


@pytest.mark.parametrize("content", ['{"username": "u", "password": "p4ss"}', "p4ss"])
def test_the_deployments_own_store_with_the_password_of_a_secret(
    account: None, postgres: Address, content: str
) -> None:
    settings = Settings(
        pgvector_host="127.0.0.1",
        pgvector_port=15432,
        pgvector_user="lisa_retrieval",
        pgvector_secret=secret(content),
    )
    found = address(REPOSITORY, settings)
    assert (found.host, found.port, found.database, found.user) == (
        "127.0.0.1",
        15432,
        "lisa",
        "lisa_retrieval",
    )
    assert found.password() == "p4ss"
    assert not found.encrypted
    assert found.seconds == 3


def test_on_aws_it_waits_for_a_database_that_sleeps_and_encrypts(account: None) -> None:
    found = address(
        REPOSITORY, Settings(stage="prod", pgvector_host="db.example.com", pgvector_user="functions")
    )
    assert (found.encrypted, found.seconds, found.tries) == (True, 40, 3)


def test_without_a_secret_it_signs_in_with_iam(account: None) -> None:
    found = address(
        REPOSITORY, Settings(stage="prod", pgvector_host="db.example.com", pgvector_user="functions")
    )
    token = urlsplit("https://" + found.password())
    assert token.netloc == "db.example.com:5432"
    asked = parse_qs(token.query)
    assert asked["Action"] == ["connect"]
    assert asked["DBUser"] == ["functions"]
    assert "/eu-west-1/rds-db/" in asked["X-Amz-Credential"][0]


def test_a_repositorys_own_connection_comes_first(account: None) -> None:
    own = Connection("own.example.com", 6543, "docs", "reader", secret('{"password": "own"}'))
    found = address(replace(REPOSITORY, connection=own), Settings(pgvector_host="127.0.0.1"))
    assert (found.host, found.port, found.database, found.user) == ("own.example.com", 6543, "docs", "reader")
    assert found.password() == "own"


def test_a_rotated_password_is_read_anew(account: None) -> None:
    arn = secret('{"password": "first"}')
    found = address(REPOSITORY, Settings(pgvector_host="127.0.0.1", pgvector_secret=arn))
    assert found.password() == "first"
    boto3.client("secretsmanager").put_secret_value(SecretId=arn, SecretString='{"password": "second"}')
    assert found.password() == "second"


def test_repositories_of_one_store_share_it() -> None:
    settings = Settings(pgvector_host="127.0.0.1")
    one = connect.open_store(REPOSITORY, settings)
    assert connect.open_store(replace(REPOSITORY, id="other"), settings) is one
    own = replace(REPOSITORY, connection=Connection("elsewhere.example.com"))
    assert connect.open_store(own, settings) is not one


def test_a_deployment_without_a_store_says_what_to_do() -> None:
    with pytest.raises(InvalidRequest, match="PgvectorStore") as raised:
        connect.open_store(REPOSITORY, Settings())
    assert raised.value.field == "type"


def test_a_store_works_on_after_a_batch_has_closed_it(
    account: None, postgres: Address, unmade: Index
) -> None:
    settings = Settings(
        pgvector_host=postgres.host,
        pgvector_port=postgres.port,
        pgvector_user=postgres.user,
        pgvector_secret=secret(postgres.password()),
    )
    store = connect.open_store(REPOSITORY, settings)
    store.create(unmade, Visibility())
    connect.close_stores()
    assert store.size(unmade).chunks == 0
    store.drop(unmade)
