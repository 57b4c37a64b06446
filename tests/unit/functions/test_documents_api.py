"""Documents by REST, as upstream's client asks for them."""

import json
from typing import Any

import pytest
from lisa import aws
from lisa.rag.documents import rows
from lisa.rag.records import CollectionStatus, Job, JobStatus, JobType
from lisa.rag.repositories.store import RepositoryStore

from tests.unit.functions.conftest import DOCUMENTS_BUCKET, DOCUMENTS_TABLE, REPOSITORIES_TABLE, Context
from tests.unit.functions.samples import call, sample
from tests.unit.models.bodies import external


@pytest.fixture
def ask(load):
    """One call as alice; an administrator has made the repository `default`."""
    handlers = {name: load(name).handler for name in ("models_api", "repositories_api", "documents_api")}

    def one(name: str, *arguments: Any, **options: Any) -> tuple[int, Any]:
        event = call(*arguments, **options)
        answer = handlers[name](event, Context())
        return answer["statusCode"], json.loads(answer["body"])

    status, _ = one("models_api", "POST", "/api/models", external(modelId="mini", modelType="embedding"))
    assert status == 201
    body = {"repositoryId": "default", "type": "pgvector", "embeddingModelId": "mini"}
    assert one("repositories_api", "POST", "/api/repository", body)[0] == 201

    def alice(method: str, path: str, body: Any = None, **query: str) -> tuple[int, Any]:
        return one("documents_api", method, path, body, user="alice", groups=("user",), query=query or None)

    return alice


def uploaded(ask, name: str = "hand book.txt", content: bytes = b"Hello") -> str:
    """Asks for a form, and puts the file where the form says."""
    status, answer = ask("POST", "/api/repository/presigned-url", name)
    assert status == 200
    key = answer["response"]["fields"]["key"]
    aws.s3().put_object(Bucket=DOCUMENTS_BUCKET, Key=key, Body=content)
    return str(key)


def test_a_form_is_for_one_key_below_its_user(ask):
    status, answer = ask("POST", "/api/repository/presigned-url", "hand book.txt")
    assert status == 200
    fields = answer["response"]["fields"]
    assert fields["key"].startswith("_uploads/alice/")
    assert fields["key"].endswith("/hand book.txt")
    assert {"policy", "x-amz-meta-user"} <= set(fields)
    assert answer["response"]["url"].startswith("https://")


@pytest.mark.parametrize("name", ["", "a/b.txt", "..", "${filename}", "a\\b", "x" * 256])
def test_a_name_that_no_file_may_have_gets_no_form(ask, name):
    status, answer = ask("POST", "/api/repository/presigned-url", name)
    assert (status, answer["code"]) == (400, "invalid_request")


def test_an_upload_goes_to_the_default_collection_by_the_model_s_name(ask):
    key = uploaded(ask)
    body = {"embeddingModel": {"modelName": "mini"}, "keys": [key]}
    status, answer = ask(
        "POST",
        "/api/repository/default/bulk",
        body,
        repositoryType="default",
        chunkSize="512",
        chunkOverlap="51",
    )
    assert status == 200
    (job,) = answer["jobs"]
    assert job["status"] == "INGESTION_PENDING"
    assert job["s3Path"] == f"s3://{DOCUMENTS_BUCKET}/default/mini/~alice/hand book.txt"
    assert (answer["collectionId"], answer["collectionName"]) == ("mini", "default")
    dropped = aws.s3().get_object(Bucket=DOCUMENTS_BUCKET, Key="default/mini/~alice/hand book.txt")
    assert dropped["Body"].read() == b"Hello"
    status, answer = ask("GET", "/api/repository/default/jobs")
    assert status == 200
    (item,) = answer["jobs"]
    assert (item["id"], item["document_name"], item["progress"]) == (job["jobId"], "hand book.txt", 0)
    assert (answer["lastEvaluatedKey"], answer["hasNextPage"]) == (None, False)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"keys": []}, 400),
        ({"keys": ["_uploads/bob/x/secret.txt"]}, 404),
        ({"keys": ["default/mini/bob/secret.txt"]}, 404),
        ({"keys": ["_uploads/alice/x/never-sent.txt"]}, 404),
        ({"keys": ["_uploads/alice/../bob/secret.txt"]}, 404),
        ({"keys": ["k"], "collectionId": "nothing"}, 404),
        ({"keys": ["k"], "chunkingStrategy": {"type": "fixed", "size": 1, "overlap": 0}}, 400),
    ],
)
def test_only_one_s_own_uploads_are_ingested_and_only_into_what_is_there(ask, body, status):
    aws.s3().put_object(Bucket=DOCUMENTS_BUCKET, Key="_uploads/bob/x/secret.txt", Body=b"his")
    found, answer = ask("POST", "/api/repository/default/bulk", body)
    assert (found, "message" in answer) == (status, True)
    assert ask("GET", "/api/repository/default/jobs")[1]["jobs"] == []


def test_an_empty_list_has_upstream_s_shape_and_what_is_not_there_cannot_be_deleted(ask):
    status, answer = ask("GET", "/api/repository/default/document", collectionId="mini")
    assert (status, answer) == (
        200,
        {
            "documents": [],
            "lastEvaluated": None,
            "nextToken": None,
            "totalDocuments": 0,
            "hasNextPage": False,
            "hasPreviousPage": False,
        },
    )
    assert ask("DELETE", "/api/repository/default/document")[0] == 400
    assert ask("DELETE", "/api/repository/default/document", {"documentIds": []})[0] == 400
    assert ask("DELETE", "/api/repository/default/document", {"documentIds": ["x"]})[0] == 404
    status, answer = ask("DELETE", "/api/repository/default/document", documentName="x", collectionId="mini")
    assert (status, "'x'" in answer["message"]) == (404, True)


def test_jobs_come_newest_first_by_page_with_how_far_they_are(ask):
    for number in range(3):
        job = Job(
            id=f"job-{number}",
            type=JobType.INGESTION,
            status=JobStatus.INGESTION_IN_PROGRESS if number else JobStatus.INGESTION_FAILED,
            repository_id="default",
            collection_id="mini",
            source=f"s3://b/default/mini/alice/{number}.txt",
            document_id=f"d-{number}",
            owner="alice",
            created_at=4_000_000_000_000 + number,
            updated_at=4_000_000_020_000,
            reason="" if number else "It is encrypted.",
            attempts=2,
            chunks_total=100,
            chunks_done=20,
        )
        aws.dynamodb().put_item(TableName=DOCUMENTS_TABLE, Item=rows.job_item(job))
    status, first = ask("GET", "/api/repository/default/jobs", pageSize="2")
    assert status == 200
    assert [job["id"] for job in first["jobs"]] == ["job-2", "job-1"]
    assert (first["jobs"][0]["progress"], first["jobs"][0]["eta_seconds"]) == (0.2, 80)
    assert first["hasNextPage"]
    _, second = ask(
        "GET",
        "/api/repository/default/jobs",
        pageSize="2",
        lastEvaluatedKey=json.dumps(first["lastEvaluatedKey"]),
    )
    (last,) = second["jobs"]
    assert (last["id"], last["error_message"], last["attempts"]) == ("job-0", "It is encrypted.", 2)
    assert (second["hasNextPage"], second["hasPreviousPage"]) == (False, True)
    assert ask("GET", "/api/repository/default/jobs", lastEvaluatedKey="{}")[0] == 400
    assert ask("POST", "/api/repository/default/jobs/job-2/redrive")[0] == 409
    assert ask("POST", "/api/repository/default/jobs/nothing/redrive")[0] == 404


def test_administrators_see_statuses_and_files_that_were_dropped_nowhere(load, ask):
    job = Job(
        id="lost",
        type=JobType.INGESTION,
        status=JobStatus.INGESTION_FAILED,
        repository_id="nowhere",
        collection_id="",
        source="s3://b/nowhere/a.txt",
        document_id="d",
        owner="",
        created_at=4_000_000_000_000,
        updated_at=4_000_000_000_000,
        reason="There is no repository 'nowhere'.",
    )
    aws.dynamodb().put_item(TableName=DOCUMENTS_TABLE, Item=rows.job_item(job, unplaced=True))
    answer = load("documents_api").handler(call("GET", "/api/repository/status"), Context())
    assert json.loads(answer["body"]) == {
        "default": "CREATE_IN_PROGRESS",
        "s3://b/nowhere/a.txt": "INGESTION_FAILED: There is no repository 'nowhere'.",
    }
    assert ask("GET", "/api/repository/status")[0] == 403


def test_the_sample_is_answered(load, ask):
    answer = load("documents_api").handler(sample("documents_api"), Context())
    assert answer["statusCode"] == 404  # its model is not the default collection's


def test_a_model_that_a_collection_is_embedded_with_is_not_deleted(load, ask):
    models = load("models_api").handler
    answer = models(call("DELETE", "/api/models/mini"), Context())
    body = json.loads(answer["body"])
    assert (answer["statusCode"], body["code"]) == (409, "model_in_use")
    assert "'default' in the repository default" in body["message"]
    other = call("POST", "/api/models", external(modelId="spare", modelType="embedding"))
    assert models(other, Context())["statusCode"] == 201
    assert models(call("DELETE", "/api/models/spare"), Context())["statusCode"] == 200


def test_a_collection_is_indexed_anew_when_something_is_to_be_different(load, ask):
    api = load("collections_api").handler
    path = "/api/repository/default/collection/mini/reindex"

    def reindex(body: Any, **options: Any) -> tuple[int, Any]:
        answer = api(call("POST", path, body, **options), Context())
        return answer["statusCode"], json.loads(answer["body"])

    store = RepositoryStore(REPOSITORIES_TABLE, aws.dynamodb())
    store.set_status(store.collection("default", "mini"), CollectionStatus.ACTIVE, now=1)
    assert reindex({}, user="alice", groups=("user",))[0] == 403
    assert reindex({})[0] == 400
    assert reindex({"embeddingModel": "nothing"})[0] == 400
    status, job = reindex({"chunkingStrategy": {"type": "fixed", "size": 200, "overlap": 20}})
    assert (status, job["job_type"]) == (200, "collection_reindex")
    assert store.collection("default", "mini").next_generation == 2
    assert reindex({"chunkingStrategy": {"type": "none"}})[0] == 409
