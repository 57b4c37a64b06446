"""What people may do with repositories and collections: upstream's fields, defaults and limits, and who may."""

from typing import Any, ClassVar

import pytest
from lisa.errors import Conflict, Forbidden, InvalidRequest, LisaError, NotFound
from lisa.identity.principal import Principal
from lisa.models.store import ModelStore
from lisa.rag.documents.stores import Stores
from lisa.rag.records import Chunking, CollectionStatus, Connection, RepositoryStatus
from lisa.rag.repositories.collections import CollectionService
from lisa.rag.repositories.embedding_models import EmbeddingModels
from lisa.rag.repositories.schema import (
    CreateCollection,
    CreateRepository,
    UpdateCollection,
    UpdateRepository,
)
from lisa.rag.repositories.service import RepositoryService
from lisa.rag.repositories.store import RepositoryStore
from pydantic import ValidationError

from tests.unit.models.bodies import external, record
from tests.unit.rag.people import ADMIN, person
from tests.unit.rag.repositories.conftest import MODELS_TABLE
from tests.unit.tables import create_table

ANN, BOB = person("ann", "blue"), person("bob", "red")
KEEPER = person("kim", "blue", rag_admin=True)
LENGTHS = {"mini": 384, "maxi": 1024, "huge": 4096, "hers": 8}


class Embedder:
    """Knows how long the vectors of its models are."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def dimensions(self, model: str) -> int:
        self.asked.append(model)
        return LENGTHS[model]


@pytest.fixture
def embedder() -> Embedder:
    return Embedder()


@pytest.fixture
def models(store: RepositoryStore, embedder: Embedder) -> EmbeddingModels:
    table = ModelStore(MODELS_TABLE, store._client)
    for name in LENGTHS:
        groups = {"allowedGroups": ["green"]} if name == "hers" else {}
        table.create(record(external(modelId=name, modelType="embedding", **groups)))
    table.create(record(external(modelId="talker")))
    return EmbeddingModels(table, embedder)


@pytest.fixture
def repositories(store: RepositoryStore, models: EmbeddingModels) -> RepositoryService:
    return RepositoryService(store, models, "drop", clock=lambda: 1_700_000_000.5)


@pytest.fixture
def collections(store: RepositoryStore, models: EmbeddingModels) -> CollectionService:
    client = store._client
    create_table(client, "jobs")  # deletions leave a job there; nothing asks an index
    return CollectionService(store, models, Stores.of("jobs", client), "drop")


def body(**fields: Any) -> CreateRepository:
    return CreateRepository.model_validate(
        {"repositoryId": "library", "type": "pgvector", "embeddingModelId": "mini", **fields}
    )


def ready(store: RepositoryStore, repository_id: str = "library") -> None:
    found = store.repository(repository_id)
    assert found is not None
    store.set_status(found, RepositoryStatus.CREATE_COMPLETE, now=1)


class TestRepositories:
    def test_the_smallest_body_of_upstream_s_makes_one(
        self, repositories: RepositoryService, store: RepositoryStore
    ) -> None:
        answer = repositories.create(
            ADMIN,
            CreateRepository.model_validate({"repositoryId": "r-1", "type": "pgvector", "rdsConfig": {}}),
        )
        assert answer.model_dump(by_alias=True, exclude_none=True) == {
            "repositoryId": "r-1",
            "type": "pgvector",
            "repositoryName": "r-1",
            "description": "",
            "allowedGroups": [],
            "allowUserCollections": True,
            "metadata": {"tags": [], "customFields": {}},
            "pipelines": [],
            "rdsConfig": {"username": "postgres", "dbName": "postgres", "dbPort": 5432},
            "status": "CREATE_IN_PROGRESS",
            "createdBy": "root",
            "createdAt": "2023-11-14T22:13:20.500Z",
            "updatedAt": "2023-11-14T22:13:20.500Z",
        }
        assert store.collections("r-1") == []

    def test_with_an_embedding_model_there_is_a_default_collection(
        self, repositories: RepositoryService, store: RepositoryStore
    ) -> None:
        repositories.create(ADMIN, body())
        default = store.default_collection("library")
        assert default is not None
        assert (default.id, default.name, default.embedding_model, default.dimensions) == (
            "mini", "default", "mini", 384,
        )  # fmt: skip
        assert default.is_default
        assert default.chunking == Chunking("fixed", 512, 51)

    def test_what_lisapy_sends_for_opensearch_is_taken(
        self, repositories: RepositoryService, store: RepositoryStore
    ) -> None:
        new = {"dataNodes": 2, "dataNodeInstanceType": "r7g.large.search", "volumeSize": 20}
        repositories.create(
            ADMIN, body(type="opensearch", opensearchConfig=new, embeddingModelId=None, allowedGroups=[])
        )
        found = store.repository("library")
        assert found is not None
        assert found.connection == Connection()

    def test_a_store_of_one_s_own_is_named(
        self, repositories: RepositoryService, store: RepositoryStore
    ) -> None:
        own = {
            "dbHost": "db.example.com",
            "dbName": "books",
            "username": "lisa",
            "passwordSecretId": "db-password",
        }
        answer = repositories.create(ADMIN, body(rdsConfig=own))
        found = store.repository("library")
        assert found is not None
        assert found.connection == Connection("db.example.com", 5432, "books", "lisa", "db-password")
        assert answer.rds_config is not None
        assert answer.rds_config.password_secret_id == "db-password"

    @pytest.mark.parametrize(
        ("fields", "named", "words"),
        [
            ({"embeddingModelId": "nothing"}, "embeddingModelId", "no model 'nothing'"),
            ({"embeddingModelId": "talker"}, "embeddingModelId", "no embedding model"),
            ({"embeddingModelId": "huge"}, "embeddingModelId", "4096 dimensions; pgvector indexes 4000"),
            ({"type": "bedrock_knowledge_base"}, "type", "knowledge bases are not offered"),
            ({"opensearchConfig": {}}, "opensearchConfig", "for the type opensearch"),
            ({"type": "opensearch", "rdsConfig": {}}, "rdsConfig", "for the type pgvector"),
        ],
    )
    def test_what_cannot_work_is_refused_by_name(
        self,
        repositories: RepositoryService,
        store: RepositoryStore,
        fields: dict[str, Any],
        named: str,
        words: str,
    ) -> None:
        with pytest.raises(InvalidRequest, match=words) as refused:
            repositories.create(ADMIN, body(**fields))
        assert refused.value.field == named
        assert store.repositories() == []

    @pytest.mark.parametrize(
        "fields",
        [
            {"repositoryId": name}
            for name in ("ab", "a" * 21, "-abc", "abc-", "Abc", "a_c", "_uploads", "a/b", "..", "a\n")
        ]
        + [
            {"metadata": {"tags": ["a b"]}},
            {"metadata": {"tags": ["a"] * 51}},
            {"metadata": {"customFields": {"a": ["b"]}}},
            {"metadata": {"customFields": {"a'; DROP TABLE": "b"}}},
            {"rdsConfig": {"dbHost": "-h evil"}},
            {"rdsConfig": {"dbName": "a b"}},
            {"type": "oracle"},
        ],
        ids=str,
    )  # fmt: skip
    def test_names_are_checked_once_and_for_all(self, fields: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            body(**fields)

    def test_an_id_is_given_once(self, repositories: RepositoryService, embedder: Embedder) -> None:
        repositories.create(ADMIN, body())
        with pytest.raises(Conflict, match="'library' already"):
            repositories.create(ADMIN, body())

    def test_people_see_what_is_for_them(self, repositories: RepositoryService) -> None:
        repositories.create(ADMIN, body())
        repositories.create(ADMIN, body(repositoryId="blues", allowedGroups=["blue"]))
        assert [found.repository_id for found in repositories.visible(ANN)] == ["blues", "library"]
        assert [found.repository_id for found in repositories.visible(BOB)] == ["library"]
        with pytest.raises(NotFound):
            repositories.get(BOB, "blues")
        assert repositories.statuses() == {"blues": "CREATE_IN_PROGRESS", "library": "CREATE_IN_PROGRESS"}

    def test_only_what_is_named_changes(
        self, repositories: RepositoryService, store: RepositoryStore
    ) -> None:
        repositories.create(ADMIN, body(description="Old", allowedGroups=["blue"]))
        with pytest.raises(Conflict, match="CREATE_IN_PROGRESS"):
            repositories.update(ADMIN, "library", UpdateRepository(description="New"))
        ready(store)
        answer = repositories.update(ADMIN, "library", UpdateRepository(description="New"))
        assert (answer.description, answer.allowed_groups) == ("New", ["blue"])
        assert answer.status == "UPDATE_IN_PROGRESS"

    def test_administrators_of_retrieval_change_pipelines_only(
        self, repositories: RepositoryService, store: RepositoryStore
    ) -> None:
        repositories.create(ADMIN, body())
        ready(store)
        with pytest.raises(Forbidden):
            repositories.update(KEEPER, "library", UpdateRepository(description="mine"))
        pipelines = [{"s3Bucket": "mail", "s3Prefix": "in/", "trigger": "daily"}]
        answer = repositories.update(
            KEEPER, "library", UpdateRepository.model_validate({"pipelines": pipelines})
        )
        (pipeline,) = answer.pipelines
        assert (pipeline.collection_id, pipeline.schedule) == ("mini", "cron(0 3 * * ? *)")

    def test_the_embedding_model_of_what_is_indexed_stays(
        self, repositories: RepositoryService, store: RepositoryStore
    ) -> None:
        repositories.create(ADMIN, body())
        ready(store)
        with pytest.raises(Conflict, match="'mini', which never changes"):
            repositories.update(ADMIN, "library", UpdateRepository(embedding_model_id="maxi"))

    def test_a_repository_may_get_its_embedding_model_later(
        self, repositories: RepositoryService, store: RepositoryStore
    ) -> None:
        repositories.create(ADMIN, body(embeddingModelId=None))
        ready(store)
        repositories.update(ADMIN, "library", UpdateRepository(embedding_model_id="maxi"))
        default = store.default_collection("library")
        assert default is not None
        assert (default.id, default.dimensions) == ("maxi", 1024)

    def test_groups_are_not_taken_from_under_a_collection(
        self, repositories: RepositoryService, collections: CollectionService, store: RepositoryStore
    ) -> None:
        repositories.create(ADMIN, body())
        ready(store)
        collections.create(ADMIN, "library", CreateCollection(name="Reds", allowed_groups=["red"]))
        with pytest.raises(Conflict, match="'Reds' is for red"):
            repositories.update(ADMIN, "library", UpdateRepository(allowed_groups=["blue"]))

    def test_a_deletion_is_asked_for_once(
        self, repositories: RepositoryService, store: RepositoryStore
    ) -> None:
        with pytest.raises(NotFound):
            repositories.delete("library")
        repositories.create(ADMIN, body())
        assert repositories.delete("library") == repositories.delete("library")
        found = store.repository("library")
        assert found is not None
        assert found.status is RepositoryStatus.DELETE_IN_PROGRESS


class TestPipelines:
    MAIL: ClassVar[dict[str, Any]] = {
        "s3Bucket": "mail",
        "s3Prefix": "in/",
        "trigger": "event",
        "chunkSize": 200,
        "chunkOverlap": 20,
    }

    def change(
        self, repositories: RepositoryService, store: RepositoryStore, *pipelines: dict[str, Any]
    ) -> Any:
        ready(store)
        return repositories.update(
            ADMIN, "library", UpdateRepository.model_validate({"pipelines": list(pipelines)})
        ).pipelines

    def test_a_pipeline_keeps_its_id_and_may_change_how_it_cuts(
        self, repositories: RepositoryService, store: RepositoryStore
    ) -> None:
        repositories.create(ADMIN, body(pipelines=[self.MAIL]))
        (first,) = repositories.get(ADMIN, "library").pipelines
        again = first.model_dump(by_alias=True, mode="json")
        (second,) = self.change(repositories, store, again | {"chunkingStrategy": {"type": "none"}})
        assert second.pipeline_id == first.pipeline_id
        assert second.chunking_strategy is not None
        assert second.chunking_strategy.type == "none"
        assert self.change(repositories, store) == []

    @pytest.mark.parametrize(
        ("fields", "named"),
        [
            ({"autoRemove": False}, "autoRemove"),
            ({"trigger": "daily"}, "trigger"),
            ({"s3Prefix": "other/"}, "s3Prefix"),
            ({"s3Bucket": "other"}, "s3Bucket"),
            ({"pipelineId": "nothing"}, "pipelineId"),
            ({"collectionId": "nothing"}, "collectionId"),
            ({"chunkOverlap": None}, "chunkSize"),
            ({"chunkOverlap": 101}, "chunkOverlap"),
            ({"schedule": "rate(1 day)"}, "schedule"),
            ({"s3Bucket": "drop"}, "s3Bucket"),
        ],
    )
    def test_what_cannot_be_is_refused_by_name(
        self, repositories: RepositoryService, store: RepositoryStore, fields: dict[str, Any], named: str
    ) -> None:
        repositories.create(ADMIN, body(pipelines=[self.MAIL]))
        (first,) = repositories.get(ADMIN, "library").pipelines
        with pytest.raises(InvalidRequest) as refused:
            self.change(repositories, store, self.MAIL | {"pipelineId": first.pipeline_id} | fields)
        assert refused.value.field == f"pipelines.0.{named}"

    def test_two_that_say_the_same_are_one_too_many(
        self, repositories: RepositoryService, store: RepositoryStore
    ) -> None:
        repositories.create(ADMIN, body())
        with pytest.raises(InvalidRequest, match="say the same"):
            self.change(repositories, store, self.MAIL, self.MAIL)

    @pytest.mark.parametrize("schedule", ["rate(5 minutes)", "cron(0 3 * * ? *)", "rate(1 day)"])
    def test_schedules_are_expressions_of_eventbridge(self, schedule: str) -> None:
        fields = {"s3Bucket": "mail", "s3Prefix": "", "trigger": "schedule", "schedule": schedule}
        assert body(pipelines=[fields]).pipelines

    @pytest.mark.parametrize(
        "schedule", ["daily", "rate(0 days)", "cron(0 3)", "rate(1 day) ", "at(2030-01-01)"]
    )
    def test_other_words_are_no_schedule(self, schedule: str) -> None:
        with pytest.raises(ValidationError):
            body(
                pipelines=[{"s3Bucket": "mail", "s3Prefix": "", "trigger": "schedule", "schedule": schedule}]
            )


class TestCollections:
    @pytest.fixture(autouse=True)
    def library(self, repositories: RepositoryService, store: RepositoryStore) -> None:
        repositories.create(ADMIN, body())
        ready(store)

    def test_a_user_s_own_collection_is_the_user_s_until_it_has_groups(
        self, collections: CollectionService
    ) -> None:
        made = collections.create(ANN, "library", CreateCollection(name="Mine"))
        assert (made.owner, made.status, made.embedding_model, made.dimensions) == (
            "ann", "CREATE_IN_PROGRESS", "mini", 384,
        )  # fmt: skip
        assert made.chunking_strategy == {"type": "fixed", "size": 512, "overlap": 51}
        for stranger in (BOB, KEEPER):
            with pytest.raises(NotFound):
                collections.get(stranger, "library", "Mine")
        collections.update(ANN, "library", "Mine", UpdateCollection(allowed_groups=["red"]))
        assert collections.get(BOB, "library", "Mine").collection_id == made.collection_id

    def test_an_administrator_s_collection_is_for_everyone(self, collections: CollectionService) -> None:
        made = collections.create(KEEPER, "library", CreateCollection(name="Ours"))
        assert made.owner is None
        seen = collections.get(BOB, "library", "Ours")
        assert (seen.collection_id, seen.document_count) == (made.collection_id, 0)
        with pytest.raises(Forbidden):
            collections.update(BOB, "library", "Ours", UpdateCollection(description="his"))

    def test_a_repository_may_keep_collections_to_administrators(
        self, repositories: RepositoryService, collections: CollectionService, store: RepositoryStore
    ) -> None:
        repositories.update(ADMIN, "library", UpdateRepository(allow_user_collections=False))
        with pytest.raises(Forbidden):
            collections.create(ANN, "library", CreateCollection(name="Mine"))
        assert collections.create(KEEPER, "library", CreateCollection(name="Ours")).owner is None

    @pytest.mark.parametrize(
        ("who", "fields", "named", "words"),
        [
            (ANN, {"embeddingModel": "nothing"}, "embeddingModel", "no model 'nothing'"),
            (ANN, {"embeddingModel": "hers"}, "embeddingModel", "no model 'hers'"),
            (ANN, {"dimensions": 383}, "dimensions", "384 dimensions, not 383"),
            (ANN, {"name": "mini"}, "name", "stands for"),
        ],
    )
    def test_what_cannot_work_is_refused_by_name(
        self, collections: CollectionService, who: Principal, fields: dict[str, Any], named: str, words: str
    ) -> None:
        with pytest.raises(InvalidRequest, match=words) as refused:
            collections.create(who, "library", CreateCollection.model_validate({"name": "New", **fields}))
        assert refused.value.field == named

    @pytest.mark.parametrize(
        "fields",
        [{"name": name} for name in ("", " ", "a/b", "a" * 101, "a\tb", "é", "a.b", "a%20b")]
        + [
            {"chunkingStrategy": {"type": "fixed", "size": 99, "overlap": 0}},
            {"chunkingStrategy": {"type": "fixed", "size": 10_001, "overlap": 0}},
            {"chunkingStrategy": {"type": "fixed", "size": 100, "overlap": 51}},
            {"chunkingStrategy": {"type": "semantic"}},
        ],
        ids=str,
    )  # fmt: skip
    def test_names_and_strategies_are_held_to_their_limits(self, fields: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            CreateCollection.model_validate({"name": "New", **fields})

    def test_groups_are_among_the_repository_s(
        self, repositories: RepositoryService, collections: CollectionService
    ) -> None:
        repositories.create(ADMIN, body(repositoryId="blues", allowedGroups=["blue", "green"]))
        with pytest.raises(InvalidRequest, match="not for red"):
            collections.create(ANN, "blues", CreateCollection(name="New", allowed_groups=["blue", "red"]))
        made = collections.create(ANN, "blues", CreateCollection(name="New", allowed_groups=["green"]))
        with pytest.raises(InvalidRequest, match="not for red"):
            collections.update(ANN, "blues", made.collection_id, UpdateCollection(allowed_groups=["red"]))

    def test_the_embedding_model_never_changes(self, collections: CollectionService) -> None:
        made = collections.create(ANN, "library", CreateCollection(name="Mine"))
        with pytest.raises(InvalidRequest, match="never changes"):
            collections.update(ANN, "library", "Mine", UpdateCollection(embedding_model="maxi"))
        answer = collections.update(
            ANN,
            "library",
            "Mine",
            UpdateCollection.model_validate(
                {
                    "name": "Mine too",
                    "embeddingModel": "mini",
                    "chunkingStrategy": {"type": "none"},
                    "metadata": {"tags": ["a"], "customFields": {"year": 2024, "final": True}},
                }
            ),
        )
        assert (answer.collection_id, answer.name) == (made.collection_id, "Mine too")
        assert answer.chunking_strategy == {"type": "none"}
        assert answer.metadata.custom_fields == {"year": 2024.0, "final": True}

    def test_a_collection_is_archived_when_it_is_there(
        self, collections: CollectionService, store: RepositoryStore
    ) -> None:
        made = collections.create(ANN, "library", CreateCollection(name="Mine"))
        with pytest.raises(Conflict, match="CREATE_IN_PROGRESS"):
            collections.update(ANN, "library", "Mine", UpdateCollection(status="ARCHIVED"))
        found = store.collection("library", made.collection_id)
        assert found is not None
        store.set_status(found, CollectionStatus.ACTIVE, now=1)
        archived = collections.update(ANN, "library", "Mine", UpdateCollection(status="archived"))
        assert archived.status == "ARCHIVED"
        with pytest.raises(InvalidRequest, match="ACTIVE or ARCHIVED"):
            collections.update(ANN, "library", "Mine", UpdateCollection(status="DELETED"))

    def test_a_deletion_is_for_who_may_and_is_asked_for_once(
        self, collections: CollectionService, store: RepositoryStore
    ) -> None:
        made = collections.create(ANN, "library", CreateCollection(name="Mine"))
        with pytest.raises(NotFound):
            collections.delete(BOB, "library", made.collection_id)
        with pytest.raises(Forbidden):
            collections.delete(BOB, "library", "mini")
        first = collections.delete(ANN, "library", "Mine")
        assert collections.delete(ANN, "library", "Mine") == first
        assert (first.deletion_type, first.status) == ("full", "DELETE_PENDING")
        found = store.collection("library", made.collection_id)
        assert found is not None
        assert found.status is CollectionStatus.DELETE_IN_PROGRESS
        with pytest.raises(Conflict, match="being deleted"):
            collections.update(ANN, "library", "Mine", UpdateCollection(description="late"))

    def test_a_collection_is_found_under_its_own_repository_only(
        self, repositories: RepositoryService, collections: CollectionService
    ) -> None:
        repositories.create(ADMIN, body(repositoryId="other"))
        made = collections.create(ANN, "library", CreateCollection(name="Mine"))
        for attempt in (collections.get, collections.delete):
            with pytest.raises(LisaError) as refused:
                attempt(ANN, "other", made.collection_id)
            assert refused.value.status == 404
