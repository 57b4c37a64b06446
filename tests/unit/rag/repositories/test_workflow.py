"""The steps of the workflows, what starts them and what looks after them."""

from dataclasses import replace
from typing import Any

import pytest
from lisa import dynamo
from lisa.rag.documents.jobs import JobStore
from lisa.rag.records import Collection, CollectionStatus, JobStatus, Repository, RepositoryStatus
from lisa.rag.repositories.deletion import deletion_job
from lisa.rag.repositories.dispatch import Dispatcher
from lisa.rag.repositories.executions import Executions, ExecutionState, Wish
from lisa.rag.repositories.reconcile import MAX_ATTEMPTS, Reconciler
from lisa.rag.repositories.store import RepositoryStore, Row
from lisa.rag.repositories.workflow import (
    STORE_TRIES,
    SUPERSEDED,
    ApplyPipelines,
    ConnectStore,
    EmptyRepository,
    IndexCollection,
    RecordStatus,
)
from lisa.rag.vectors.base import Visibility

from tests.unit.rag.people import collection, repository
from tests.unit.rag.repositories.conftest import MODELS_TABLE, TABLE
from tests.unit.rag.repositories.stores import Vectors

OF_REPOSITORY = Wish("library", "", 1, 1)
OF_COLLECTION = Wish("library", "c-1", 1, 1)


@pytest.fixture
def jobs(store: RepositoryStore) -> JobStore:
    return JobStore(MODELS_TABLE, store._client)  # any table with our keys


@pytest.fixture
def vectors() -> Vectors:
    return Vectors()


def keep(store: RepositoryStore, *kept: Repository | Collection) -> None:
    for each in kept:
        if isinstance(each, Repository):
            store.create_repository(each)
        else:
            store.create_collection(each)


class TestConnectStore:
    def test_the_store_learns_who_sees_the_repository_s_collections(
        self, store: RepositoryStore, vectors: Vectors
    ) -> None:
        keep(
            store,
            repository(allowed_groups=("blue",)),
            collection("c-1"),
            collection("c-2", owner="ann"),
            collection("c-3", status=CollectionStatus.CREATE_IN_PROGRESS),
        )
        assert ConnectStore(store, vectors.open)(OF_REPOSITORY, 0) == {"outcome": "connected"}
        assert vectors.indices == {
            ("library", "c-1", 1): Visibility(groups=("blue",)),
            ("library", "c-2", 1): Visibility(owner="ann"),
        }

    def test_a_store_that_is_away_is_waited_for_and_then_named(
        self, store: RepositoryStore, vectors: Vectors
    ) -> None:
        keep(store, repository())
        connect = ConnectStore(store, vectors.open)
        vectors.away = STORE_TRIES
        waits, tries = [], 0
        while (outcome := connect(OF_REPOSITORY, tries))["outcome"] == "pending":
            tries = outcome["tries"]
            waits.append(outcome["wait"])
        assert waits == [2, 4, 8, 16, 30, 30, 30]
        assert outcome == {"outcome": "failed", "reason": "PostgreSQL does not answer at db.example:5432."}
        assert connect(OF_REPOSITORY, 0) == {"outcome": "connected"}

    def test_what_only_people_can_mend_is_not_waited_for(
        self, store: RepositoryStore, vectors: Vectors
    ) -> None:
        keep(store, repository())
        vectors.refuses = "This deployment has no store of the type opensearch."
        outcome = ConnectStore(store, vectors.open)(OF_REPOSITORY, 0)
        assert outcome == {"outcome": "failed", "reason": vectors.refuses}

    @pytest.mark.parametrize(
        "wish", [Wish("library", "", 2, 1), Wish("library", "", 1, 2), Wish("x", "", 1, 1)]
    )
    def test_a_wish_that_is_not_the_newest_is_left_alone(
        self, store: RepositoryStore, vectors: Vectors, jobs: JobStore, wish: Wish
    ) -> None:
        keep(store, repository())
        assert ConnectStore(store, vectors.open)(wish, 0) == SUPERSEDED
        assert EmptyRepository(store, lambda _: True)(wish, 0) == SUPERSEDED
        assert RecordStatus(store, jobs)(wish, "DELETED") == SUPERSEDED
        assert store.repository("library") == repository()


class Scheduled:
    """Remembers which repositories have schedules."""

    def __init__(self) -> None:
        self.there: list[str] = []

    def apply(self, repository: Repository) -> None:
        self.there.append(repository.id)

    def remove(self, repository_id: str) -> None:
        self.there.remove(repository_id)


def test_pipelines_run_by_schedule_as_long_as_their_repository_is_wanted(store: RepositoryStore) -> None:
    keep(store, repository())
    schedules = Scheduled()
    pipelines = ApplyPipelines(store, schedules)
    assert pipelines(Wish("library", "", 2, 1), "present") == SUPERSEDED
    assert schedules.there == []
    assert pipelines(OF_REPOSITORY, "present") == {"outcome": "applied"}
    assert schedules.there == ["library"]
    assert pipelines(OF_REPOSITORY, "absent") == {"outcome": "gone"}
    assert schedules.there == []


class TestIndexCollection:
    def test_an_index_is_made_and_all_are_removed(self, store: RepositoryStore, vectors: Vectors) -> None:
        keep(store, repository(), collection(generation=3, next_generation=4, allowed_groups=("red",)))
        index = IndexCollection(store, vectors.open)
        for _ in range(2):
            assert index(OF_COLLECTION, "present", 0) == {"outcome": "indexed"}
        assert vectors.indices == {("library", "c-1", 3): Visibility(groups=("red",))}
        vectors.indices["library", "c-1", 4] = Visibility()
        for _ in range(2):
            assert index(OF_COLLECTION, "absent", 0) == {"outcome": "gone"}
        assert vectors.indices == {}


class TestEmptyRepository:
    def test_collections_are_wished_away_until_none_is_left(
        self, store: RepositoryStore, jobs: JobStore
    ) -> None:
        keep(
            store,
            repository(),
            collection("c-1"),
            collection("c-2", name="two", status=CollectionStatus.DELETE_FAILED),
        )
        forgetting = []  # repositories whose jobs were to be forgotten, page by page

        def forget(repository_id: str) -> bool:
            forgetting.append(repository_id)
            return len(forgetting) == 2

        empty = EmptyRepository(store, forget, clock=lambda: 5)
        assert empty(OF_REPOSITORY, 0) == {"outcome": "pending", "asked": 1, "wait": 1}
        going = store.collections("library")
        assert {each.status for each in going} == {CollectionStatus.DELETE_IN_PROGRESS}
        assert empty(OF_REPOSITORY, 1)["outcome"] == "pending"
        assert store.collections("library") == going
        store.forget(going[0])
        store.set_status(going[1], CollectionStatus.DELETE_FAILED, "no way", now=6)
        outcome = empty(OF_REPOSITORY, 2)
        assert outcome == {"outcome": "failed", "reason": "Its collection 'two' could not be removed: no way"}
        assert forgetting == []
        store.forget(going[1])
        assert empty(OF_REPOSITORY, 3)["outcome"] == "pending"
        assert empty(OF_REPOSITORY, 4)["outcome"] == "empty"
        assert forgetting == ["library"] * 2


class TestRecordStatus:
    def test_a_repository_ends_as_it_was_found(self, store: RepositoryStore, jobs: JobStore) -> None:
        keep(store, repository(status=RepositoryStatus.CREATE_IN_PROGRESS))
        record = RecordStatus(store, jobs)
        assert record(OF_REPOSITORY, "CREATE_FAILED", "no space") == {"outcome": "recorded"}
        found = store.repository("library")
        assert found is not None
        assert (found.status, found.reason) == (RepositoryStatus.CREATE_FAILED, "no space")
        assert record(OF_REPOSITORY, "DELETED") == {"outcome": "recorded"}
        assert store.repository("library") is None

    def test_what_was_changed_of_an_archived_collection_leaves_it_archived(
        self, store: RepositoryStore, jobs: JobStore
    ) -> None:
        keep(store, repository(), collection(status=CollectionStatus.ARCHIVED))
        RecordStatus(store, jobs)(OF_COLLECTION, "ACTIVE")
        row = store.row("COLLECTION#library", "c-1")
        assert row is not None
        assert row.is_settled
        assert row.record.status is CollectionStatus.ARCHIVED

    def test_a_deletion_s_job_ends_with_it(self, store: RepositoryStore, jobs: JobStore) -> None:
        going = collection(status=CollectionStatus.DELETE_IN_PROGRESS)
        keep(store, repository(), going)
        job = deletion_job(going, "ann")
        jobs.put([job])
        record = RecordStatus(store, jobs, clock=lambda: 7)
        record(OF_COLLECTION, "DELETE_FAILED", "no way")
        assert jobs.get(job.id) == replace(
            job, status=JobStatus.DELETE_FAILED, reason="no way", updated_at=7000
        )
        jobs.put([job])
        store.change(going, replace(going, version=2))
        keep(store, collection("c-2", name="two", status=CollectionStatus.DELETE_IN_PROGRESS))
        assert record(Wish("library", "c-2", 1, 1), "DELETED") == {"outcome": "recorded"}
        assert jobs.get(job.id) == job
        assert store.collection("library", "c-2") is None

    def test_the_default_collection_of_a_repository_that_stays_begins_anew(
        self, store: RepositoryStore, jobs: JobStore
    ) -> None:
        going = collection(
            is_default=True, generation=2, next_generation=3, status=CollectionStatus.DELETE_IN_PROGRESS
        )
        keep(store, repository(), going)
        record = RecordStatus(store, jobs, clock=lambda: 7)
        assert record(OF_COLLECTION, "DELETED") == {"outcome": "recorded"}
        found = store.default_collection("library")
        assert found is not None
        assert (found.generation, found.next_generation, found.status) == (
            4, 0, CollectionStatus.CREATE_IN_PROGRESS,
        )  # fmt: skip
        # And of one that goes it goes, too.
        store.change(repository(), repository(status=RepositoryStatus.DELETE_IN_PROGRESS, version=2))
        assert record(Wish("library", "c-1", found.version, 1), "DELETED") == {"outcome": "recorded"}
        assert store.collections("library") == []


class Started(Executions):
    """Remembers what was started; says of every execution the same."""

    def __init__(self, state: tuple[ExecutionState, str] = ("unknown", "")) -> None:
        self.started: list[str] = []
        self._state = state

    def start(self, row: Row) -> None:
        self.started.append(Wish.for_row(row).name)

    def state(self, row: Row) -> tuple[ExecutionState, str]:
        return self._state


class Said:
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def say(self, source: str, detail_type: str, detail: dict[str, Any]) -> None:
        assert source == "lisa.retrieval"
        self.events.append((detail_type, detail))


def images(store: RepositoryStore) -> list[dict[str, Any]]:
    found = store._client.scan(TableName=TABLE)["Items"]
    return sorted((dynamo.from_item(item) for item in found), key=lambda item: str(item["pk"]))


class TestDispatcher:
    def test_a_record_s_workflow_starts_and_its_status_is_said(self, store: RepositoryStore) -> None:
        keep(store, repository(), collection(name="Handbook", status=CollectionStatus.CREATE_IN_PROGRESS))
        started, said = Started(), Said()
        dispatch = Dispatcher(store, started, said)  # type: ignore[arg-type]
        for image in images(store):
            dispatch({}, image, at=0)
        of_collection, of_repository = started.started
        assert of_collection.startswith("library-")
        assert {name.rpartition("-")[0][-2:] for name in started.started} == {"-1"}
        assert of_collection != of_repository
        assert [kind for kind, _ in said.events] == ["Collection Status Changed", "Repository Status Changed"]
        assert said.events[0][1] == {
            "repositoryId": "library",
            "collectionId": "c-1",
            "name": "Handbook",
            "status": "CREATE_IN_PROGRESS",
            "previousStatus": None,
            "reason": None,
            "version": 1,
            "at": "1970-01-01T00:00:00Z",
        }

    def test_what_is_settled_or_late_starts_nothing(self, store: RepositoryStore) -> None:
        keep(store, repository())
        (old,) = images(store)
        store.set_status(repository(), RepositoryStatus.CREATE_COMPLETE, now=1)
        (new,) = images(store)
        started, said = Started(), Said()
        dispatch = Dispatcher(store, started, said)  # type: ignore[arg-type]
        dispatch({}, old, at=0)
        dispatch(old, new, at=0)
        dispatch(new, {}, at=0)
        assert started.started == []
        assert [detail["status"] for _, detail in said.events] == ["CREATE_COMPLETE", "DELETED"]


class TestReconciler:
    def look(
        self, store: RepositoryStore, state: ExecutionState, *, after: float = 60
    ) -> dict[str, list[str]]:
        executions = Started((state, ""))
        return Reconciler(store, executions, clock=lambda: after)().as_dict()

    def test_what_lost_its_workflow_is_tried_again_and_then_settled(self, store: RepositoryStore) -> None:
        keep(
            store,
            repository(status=RepositoryStatus.CREATE_IN_PROGRESS),
            collection(),
        )
        both = ["library", "library/c-1"]
        for attempt in range(1, MAX_ATTEMPTS):
            found = self.look(store, "failed", after=60 * attempt)
            assert found == {"retried": both, "gave_up": [], "failed": []}
        assert self.look(store, "failed", after=3600)["gave_up"] == both
        assert self.look(store, "failed", after=7200) == {"retried": [], "gave_up": [], "failed": []}
        ended = store.repository("library")
        assert ended is not None
        assert ended.status is RepositoryStatus.CREATE_FAILED
        assert "5 times" in ended.reason
        # What is there, and could not be changed in its store, stays there.
        kept = store.collection("library", "c-1")
        assert kept is not None
        assert kept.status is CollectionStatus.ACTIVE
        assert "5 times" in kept.reason

    def test_what_was_just_written_or_still_runs_is_left_alone(self, store: RepositoryStore) -> None:
        keep(store, repository())
        nothing: dict[str, list[str]] = {"retried": [], "gave_up": [], "failed": []}
        assert self.look(store, "unknown", after=10) == nothing
        assert self.look(store, "running") == nothing
        assert self.look(store, "running", after=7 * 3600)["retried"] == ["library"]
