"""What belongs to one user, tried by another: every verb, by its very id, however it is written."""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import pytest
from lisa import aws
from lisa.identity import RULES, Who
from lisa.rag.documents import rows
from lisa.rag.records import Chunking, Document, IngestionType, Job, JobStatus, JobType

from tests.unit.functions.conftest import DOCUMENTS_BUCKET, DOCUMENTS_TABLE
from tests.unit.functions.gateway_events import METHODS, Api
from tests.unit.models.bodies import external

OTHERS = {"bob": ["user", "team-b"], "curator": ["user", "rag-admin"], "nobody": []}


def a_model(admin: Api, alice: Api) -> str:
    """Of a group that alice is in, and the others are not."""
    status, body = admin.call("POST", "/api/models", external(modelId="of-team-a", allowedGroups=["team-a"]))
    assert status == 201, body
    return "of-team-a"


def usage(admin: Api, alice: Api) -> str:
    """Known by the user's name."""
    return "alice"


def an_api_token(admin: Api, alice: Api) -> str:
    status, body = alice.call("POST", "/api/api-tokens", {"name": "hers"})
    assert status == 201, body
    return str(body["tokenUUID"])


def a_repository(admin: Api, alice: Api) -> tuple[str, ...]:
    """Of a group that alice is in, and the others are not."""
    body = {"repositoryId": "of-team-a", "type": "pgvector", "allowedGroups": ["team-a"]}
    assert admin.call("POST", "/api/repository", body)[0] == 201
    return ("of-team-a",)


def a_collection(admin: Api, alice: Api) -> tuple[str, ...]:
    """Alice's own, in a repository for everyone."""
    body = external(modelId="mini", modelType="embedding")
    assert admin.call("POST", "/api/models", body)[0] == 201
    assert admin.call("POST", "/api/repository", {"repositoryId": "for-all", "type": "pgvector"})[0] == 201
    status, body = alice.call(
        "POST", "/api/repository/for-all/collection", {"name": "hers", "embeddingModel": "mini"}
    )
    assert status == 201, body
    return ("for-all", str(body["collectionId"]))


def a_document(admin: Api, alice: Api) -> tuple[str, ...]:
    """In alice's own collection."""
    repository_id, collection_id = a_collection(admin, alice)
    document = Document(
        id="7b0c5f4e-0000-4000-8000-000000000001",
        repository_id=repository_id,
        collection_id=collection_id,
        name="hers.txt",
        source=f"s3://{DOCUMENTS_BUCKET}/hers.txt",
        owner="alice",
        chunking=Chunking(),
        ingestion_type=IngestionType.MANUAL,
        uploaded_at=1,
        chunks=1,
        bytes=1,
        sequencer="0",
        content_hash="",
        media_type="text/plain",
    )
    aws.dynamodb().put_item(TableName=DOCUMENTS_TABLE, Item=rows.document_item(document, {"1": 1}))
    return repository_id, document.id


def a_job(admin: Api, alice: Api) -> tuple[str, ...]:
    """One of alice's that has failed."""
    repository_id, collection_id = a_collection(admin, alice)
    job = Job(
        id="7b0c5f4e-0000-4000-8000-000000000002",
        type=JobType.INGESTION,
        status=JobStatus.INGESTION_FAILED,
        repository_id=repository_id,
        collection_id=collection_id,
        source=f"s3://{DOCUMENTS_BUCKET}/hers.txt",
        document_id="7b0c5f4e-0000-4000-8000-000000000001",
        owner="alice",
        created_at=1,
        updated_at=1,
    )
    aws.dynamodb().put_item(TableName=DOCUMENTS_TABLE, Item=rows.job_item(job))
    return repository_id, job.id


OBJECTS: dict[str, Callable[[Api, Api], str | tuple[str, ...]]] = {
    "/api/models/{modelId}": a_model,
    "/api/metrics/users/{userId}": usage,
    "/api/api-tokens/{id}": an_api_token,
    "/api/repository/{repositoryId}": a_repository,
    "/api/repository/{repositoryId}/collection": a_repository,
    "/api/repository/{repositoryId}/collections": a_repository,
    "/api/repository/{repositoryId}/collection/{collectionId}": a_collection,
    "/api/repository/{repositoryId}/collection/{collectionId}/reindex": a_collection,
    "/api/repository/{repositoryId}/bulk": a_repository,
    "/api/repository/{repositoryId}/document": a_repository,
    "/api/repository/{repositoryId}/jobs": a_repository,
    "/api/repository/{repositoryId}/jobs/{jobId}/redrive": a_job,
    "/api/repository/{repositoryId}/{documentId}": a_document,
    "/api/repository/{repositoryId}/{documentId}/download": a_document,
}
"""For each path that names an object, how alice gets one; the answer is its id, behind those that it lies under."""

NAMED = sorted(
    {
        rule.path
        for rule in RULES
        if rule.door == "api"
        and "{" in rule.path
        and rule.who is not Who.ADMIN
        # A search needs a query to be answered at all: test_rag_search.py tries it across users.
        and "/similaritySearch" not in rule.path
    }
)
"""What is for administrators alone is nobody's own; the access matrix tries it."""


def around(path: str, ids: str | tuple[str, ...]) -> tuple[str, str, str]:
    """What stands before the last id in the path, that id, and what stands behind it."""
    *parents, identifier = (ids,) if isinstance(ids, str) else ids
    for parent in parents:
        path = re.sub(r"\{\w+\}", parent, path, count=1)
    before, _, rest = re.split(r"(\{\w+\})", path)
    return before, identifier, rest


@pytest.fixture
def people(load: Callable[[str], Any]) -> Callable[[str, list[str]], Api]:
    handler = lru_cache(lambda name: load(name).handler)
    return lambda user, groups: Api(handler, user, groups)


def everything() -> dict[str, list[Any]]:
    """All rows of all tables."""
    client = aws.dynamodb()
    return {
        name: sorted(client.scan(TableName=name)["Items"], key=str)
        for name in client.list_tables()["TableNames"]
    }


def written(identifier: str) -> set[str]:
    """The same id as callers may write it."""
    encoded = "".join(f"%{byte:02x}" for byte in identifier.encode())
    return {
        identifier,
        identifier + "/",
        encoded,
        encoded.upper(),
        identifier + "%20",
        "%2e%2e/" + identifier,
    }


def test_every_path_that_names_an_object_is_tried():
    missing = set(NAMED) - set(OBJECTS)
    assert not missing, f"say in OBJECTS how alice gets what these name: {sorted(missing)}"
    assert set(OBJECTS) <= set(NAMED)


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("path", NAMED)
def test_what_is_somebody_elses_is_not_there(people, path, other):
    # Given an object of alice's
    alice = people("alice", ["user", "team-a"])
    place, identifier, rest = around(path, OBJECTS[path](people("admin", ["admin"]), alice))
    is_read = any((rule.method, rule.path) == ("GET", path) for rule in RULES)
    shown = alice.call("GET", place + identifier + rest)
    assert shown[0] == 200 or not is_read
    before = everything()

    # When another tries every verb on it
    stranger = people(other, OTHERS[other])
    for method in map(str.upper, METHODS):
        rules = [rule for rule in RULES if (rule.door, rule.method, rule.path) == ("api", method, path)]
        for name in written(identifier):
            for body in (None, {}, {"name": "x"}):
                status, answer = stranger.call(method, place + name + rest, body)

                # Then it is not there; only what administrators alone may do says so, and a body that could be
                # for no object at all
                expected = {403, 404} if rules and rules[0].who is not Who.USER else {404}
                if method in ("POST", "PUT", "DELETE") and rules:
                    expected = expected | {400}
                assert status in expected, (method, name, body, status, answer)
                assert {"message", "code", "requestId"} <= set(answer)

    # And nothing has changed
    assert everything() == before
    again = alice.call("GET", place + identifier + rest)
    assert again == shown or (path.endswith("/download") and again[0] == 200)  # a link holds its time


@pytest.mark.parametrize("path", NAMED)
def test_an_answer_does_not_tell_what_is_hidden_from_what_is_not_there(people, path):
    # Given an object of alice's
    ids = OBJECTS[path](people("admin", ["admin"]), people("alice", ["user", "team-a"]))
    place, identifier, rest = around(path, ids)

    # When bob asks for it, and for one that nobody has
    bob = people("bob", OTHERS["bob"])
    hidden = bob.call("GET", place + identifier + rest)
    absent = bob.call("GET", place + "nobody-has-this" + rest)

    # Then the answers differ in nothing but the id that he has sent
    assert hidden[0] == absent[0] == 404
    assert str(hidden[1]).replace(identifier, "*") == str(absent[1]).replace("nobody-has-this", "*")
