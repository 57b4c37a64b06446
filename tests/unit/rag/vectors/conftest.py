"""Real stores, each started once, and an index of its own for every test."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from lisa.rag.vectors.base import Index, VectorStore, Visibility
from lisa.rag.vectors.opensearch import OpenSearchStore
from lisa.rag.vectors.opensearch import client as opensearch_client
from lisa.rag.vectors.pgvector import Address, PgvectorStore

from tests.opensearch import running_node
from tests.unit.local.components.conftest import Cloud
from tests.unit.rag.vectors.corpus import DIMENSIONS, YEARS, chunks, document

STORES = ["pgvector", "opensearch"]
"""The fixture `<name>_store` starts each; the whole suite runs once for every one."""


@pytest.fixture(scope="session")
def postgres_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An embedded PostgreSQL as the local cloud runs it; its credentials lie in this folder."""
    cloud = Cloud(tmp_path_factory.mktemp("pg"))
    cloud.write_config()
    try:
        cloud.start("postgres")
        yield cloud.home
    finally:
        cloud.close()


@pytest.fixture(scope="session")
def postgres(postgres_home: Path) -> Address:
    """Signing in to it as retrieval's own user."""
    return address_of(postgres_home)


def address_of(home: Path) -> Address:
    note = json.loads((home / "postgres-retrieval.json").read_text())
    return Address(
        host=note["host"],
        port=note["port"],
        database=note["database"],
        user=note["user"],
        password=lambda: str(note["password"]),
        encrypted=False,
        seconds=3,
        tries=1,
    )


@pytest.fixture(scope="session")
def pgvector_store(postgres: Address) -> Iterator[PgvectorStore]:
    store = PgvectorStore(postgres)
    yield store
    store.close()


@pytest.fixture(scope="session")
def opensearch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a node as the local cloud runs it; OPENSEARCH_TEST_URL names a running one instead."""
    given = os.environ.get("OPENSEARCH_TEST_URL")
    if given:
        yield given
    else:
        yield from running_node(tmp_path_factory.mktemp("os"))


@pytest.fixture(scope="session")
def opensearch_store(opensearch: str) -> Iterator[OpenSearchStore]:
    store = OpenSearchStore(opensearch_address(opensearch))
    yield store
    store.close()


def opensearch_address(url: str) -> opensearch_client.Address:
    # Every run and worker may share a node.
    return opensearch_client.Address(url, prefix=f"test{secrets.token_hex(4)}")


@pytest.fixture(scope="session", params=STORES)
def store(request: pytest.FixtureRequest) -> VectorStore:
    found: VectorStore = request.getfixturevalue(f"{request.param}_store")
    return found


def new_index() -> Index:
    return Index(f"repository {secrets.token_hex(4)}", "collection'; --", 1, DIMENSIONS)


@pytest.fixture
def unmade() -> Index:
    """An index that nobody has created."""
    return new_index()


@pytest.fixture
def index(store: VectorStore, unmade: Index) -> Iterator[Index]:
    """An empty index that everybody sees."""
    store.create(unmade, Visibility())
    yield unmade
    store.drop(unmade)


@pytest.fixture(scope="session")
def years(store: VectorStore) -> Iterator[Index]:
    """Documents with a year of every type, and without one; for tests that only read."""
    made = new_index()
    store.create(made, Visibility())
    for stored in YEARS:
        store.replace(made, stored, chunks("apple", "apple pie"))
    yield made
    store.drop(made)


@pytest.fixture(scope="session")
def many(store: VectorStore) -> Iterator[Index]:
    """More chunks than a store looks at one by one, a hundredth of them with each `percent`; only to be read."""
    made = new_index()
    store.create(made, Visibility())
    for percent in range(100):
        pieces = chunks(*[f"common {percent} {number}" for number in range(60)], angle=percent)
        store.replace(made, document(f"d{percent}", attributes={"percent": float(percent)}), pieces)
    yield made
    store.drop(made)
