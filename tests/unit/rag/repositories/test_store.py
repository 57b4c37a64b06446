"""Repositories and collections in DynamoDB: nothing of them is lost, and what is late changes nothing."""

from dataclasses import replace

import pytest
from lisa.errors import Conflict, NotFound
from lisa.rag.records import Chunking, CollectionStatus, Connection, Pipeline, RepositoryStatus
from lisa.rag.repositories.lookup import Lookup, resolve
from lisa.rag.repositories.store import RepositoryStore, Row

from tests.unit.rag.people import collection, person, repository

FULL = repository(
    description="Everything",
    allowed_groups=("blue",),
    connection=Connection(endpoint="db.example", port=5432, database="d", username="u", secret_id="s"),
    pipelines=(
        Pipeline(
            "p-1",
            "bucket",
            "in/",
            "schedule",
            "c-1",
            schedule="rate(1 day)",
            chunking=Chunking("none"),
            tags=("a",),
            attributes={"year": 2024.0, "share": 0.25, "final": True, "by": "ann"},
        ),
    ),
    tags=("x", "y"),
    custom_fields={"one": 1.0, "yes": True, "no": False, "text": "1"},
    created_at=1_700_000_000_123,
)


def test_a_repository_comes_back_as_it_was_kept(store: RepositoryStore) -> None:
    store.create_repository(FULL)
    assert store.repository("library") == FULL
    assert store.repositories() == [FULL]
    found = store.repository("library")
    assert found is not None
    assert [type(value) for value in found.custom_fields.values()] == [float, bool, bool, str]


def test_a_repository_s_id_is_given_once(store: RepositoryStore) -> None:
    store.create_repository(FULL)
    with pytest.raises(Conflict, match="'library' already"):
        store.create_repository(repository(description="another"))
    assert store.repository("library") == FULL


def test_a_collection_is_found_by_id_name_and_as_the_default(store: RepositoryStore) -> None:
    library = repository()
    store.create_repository(library)
    default = collection("mini", name="default", is_default=True)
    handbook = collection("c-1", name="Hand book")
    store.create_collection(default)
    store.create_collection(handbook)

    assert resolve(store, library, "c-1") == resolve(store, library, "Hand book") == handbook
    assert resolve(store, library, "") == resolve(store, library, "mini") == default
    assert resolve(store, replace(library, embedding_model_id="other"), "other") == default
    for nothing in ("c-2", "hand book", "x" * 2000, "ü" * 600):
        assert resolve(store, library, nothing) is None
    assert store.collection("other", "c-1") is None


def test_names_of_collections_are_unique_in_a_repository(store: RepositoryStore) -> None:
    store.create_repository(repository())
    store.create_repository(repository("other"))
    store.create_collection(collection("c-1", name="Handbook"))
    store.create_collection(collection("c-1", name="Handbook", repository_id="other"))
    with pytest.raises(Conflict, match="'Handbook' already"):
        store.create_collection(collection("c-2", name="Handbook"))
    assert store.collection("library", "c-2") is None


def test_a_repository_that_is_gone_or_going_takes_no_collection(store: RepositoryStore) -> None:
    with pytest.raises(Conflict):
        store.create_collection(collection())
    store.create_repository(repository(status=RepositoryStatus.DELETE_IN_PROGRESS))
    with pytest.raises(Conflict):
        store.create_collection(collection())


def test_a_renamed_collection_frees_its_name_and_takes_no_other_s(store: RepositoryStore) -> None:
    store.create_repository(repository())
    first, second = collection("c-1", name="one"), collection("c-2", name="two")
    store.create_collection(first)
    store.create_collection(second)
    with pytest.raises(Conflict, match="'two' already"):
        store.change(first, replace(first, name="two", version=2))
    assert store.change(first, replace(first, name="three", version=2))
    assert store.collection_named("library", "one") is None
    assert store.change(second, replace(second, name="one", version=2))
    assert store.collection_named("library", "one") == replace(second, name="one", version=2)


def test_a_change_of_what_is_not_newest_changes_nothing(store: RepositoryStore) -> None:
    store.create_repository(FULL)
    newer = replace(FULL, description="newer", version=2)
    assert store.change(FULL, newer)
    assert not store.change(FULL, replace(FULL, description="late", version=2))
    assert not store.set_status(FULL, RepositoryStatus.CREATE_FAILED, "late", now=5)
    assert not store.forget(FULL)
    assert store.repository("library") == newer


def test_a_workflow_writes_its_finding_and_may_try_again(store: RepositoryStore) -> None:
    store.create_repository(repository())
    kept = collection(status=CollectionStatus.CREATE_IN_PROGRESS)
    store.create_collection(kept)
    row = store.row("COLLECTION#library", "c-1")
    assert row == Row(kept, 1, is_settled=False)
    assert store.try_again(row, now=6)
    assert not store.try_again(row, now=7)
    assert store.set_status(kept, CollectionStatus.CREATE_FAILED, "no space", now=8)
    assert list(store.rows()) == [
        Row(repository(), 1),
        Row(replace(kept, status=CollectionStatus.CREATE_FAILED, reason="no space", updated_at=8), 2, True),
    ]


def test_a_forgotten_collection_leaves_no_name_behind(store: RepositoryStore) -> None:
    store.create_repository(repository())
    kept = collection("mini", name="default", is_default=True)
    store.create_collection(kept)
    assert store.forget(kept)
    assert store.forget(kept)
    assert store.default_collection("library") is None
    assert store.collection_named("library", "default") is None
    store.create_collection(kept)
    assert store.default_collection("library") == kept


def test_what_is_hidden_does_not_exist(store: RepositoryStore) -> None:
    look = Lookup(store)
    ann, bob = person("ann"), person("bob")
    library = repository()
    store.create_repository(library)
    store.create_repository(repository("secret", allowed_groups=("blue",)))
    hers = collection("hers", owner="ann")
    store.create_collection(hers)

    assert look.repositories(bob) == [library]
    for name in ("secret", "nothing"):
        with pytest.raises(NotFound, match=f"no repository '{name}'"):
            look.repository(bob, name)
    assert look.collection(ann, "library", "hers") == (library, hers)
    assert look.collections(ann, library) == [hers]
    assert look.collections(bob, library) == []
    with pytest.raises(NotFound, match="no collection 'hers'"):
        look.collection(bob, "library", "hers")
    with pytest.raises(NotFound, match="no default collection"):
        look.collection(ann, "library", "")
