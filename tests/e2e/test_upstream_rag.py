"""Retrieval as upstream's SDK drives it: collection, form, upload, bulk, list until it is there, search, delete."""

import json
import secrets
import urllib.request
from urllib.parse import quote

import pytest

from tests.cloud import eventually
from tests.e2e.conftest import Answer, http

pytestmark = pytest.mark.cloud

REPOSITORY, EMBED = "default", "all-minilm-l6-v2"
TEXT = b"The lighthouse keeper of Skagen feeds seventeen grey seals every morning before the ferry leaves."


@pytest.fixture(scope="module")
def ask(cloud):
    """One call as somebody, with the bare token that upstream's SDK sends."""

    def call(method: str, path: str, body=None, *, user: str = "alice", raw: bytes | None = None) -> Answer:
        headers = {"Authorization": cloud.token(user)}
        if raw is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        return http(method, f"{cloud.api_url}{path}", json_body=body, raw=raw, headers=headers)

    return call


@pytest.fixture(scope="module")
def collection(ask):
    body = {
        "name": f"SDK {secrets.token_hex(4)}",
        "chunkingStrategy": {"type": "fixed", "size": 100, "overlap": 10},
    }
    made = ask("POST", f"/repository/{REPOSITORY}/collection", body)
    assert made.status in (200, 201), made
    place = f"/repository/{REPOSITORY}/collection/{made.body['collectionId']}"
    yield made.body
    answer = ask("DELETE", place)
    assert answer.status == 200, answer
    assert answer.body["status"] == "DELETE_PENDING"
    eventually("the collection is gone", lambda: ask("GET", place).status == 404, within=90)


def upload(ask, name: str, content: bytes = TEXT) -> str:
    """A file by the form that the SDK asks for: all its fields, then the file; nothing signed in."""
    answer = ask("POST", "/repository/presigned-url", raw=name.encode())
    assert answer.status == 200, answer
    form = answer.body["response"]
    boundary = secrets.token_hex(8)
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'
        for field, value in form["fields"].items()
    ]
    parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n')
    data = "".join(parts).encode() + content + f"\r\n--{boundary}--\r\n".encode()
    request = urllib.request.Request(
        form["url"], data=data, headers={"Content-Type": f"multipart/form-data; boundary={boundary}"}
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        assert response.status in (200, 204)
    return form["fields"]["key"]


def ingested(ask, name: str, collection_id: str | None) -> dict:
    """The document, once it is listed under the address that its job has told."""
    body = {"embeddingModel": {"modelName": EMBED}, "keys": [upload(ask, name)]}
    if collection_id:
        body["collectionId"] = collection_id
    path = f"/repository/{REPOSITORY}/bulk?repositoryType={REPOSITORY}&chunkSize=512&chunkOverlap=51"
    answer = ask("POST", path, body)
    assert answer.status == 200, answer
    (job,) = answer.body["jobs"]
    found: list[dict] = []

    def there() -> bool:
        listed = ask("GET", f"/repository/{REPOSITORY}/document?collectionId={collection_id or EMBED}")
        found[:] = [each for each in listed.body["documents"] if each["source"] == job["s3Path"]]
        return bool(found)

    eventually(f"{name} is listed", there, within=120)
    return found[0]


def test_the_repository_default_is_there(ask):
    assert REPOSITORY in [each["repositoryId"] for each in ask("GET", "/repository").body]
    default = ask("GET", f"/repository/{REPOSITORY}/collection/{EMBED}")
    assert (default.status, default.body["default"], default.body["status"]) == (200, True, "ACTIVE")
    for word in ("collection", "collections"):
        listed = ask(
            "GET", f"/repository/{REPOSITORY}/{word}?page=1&pageSize=20&sortBy=createdAt&sortOrder=desc"
        )
        assert EMBED in [each["collectionId"] for each in listed.body["collections"]]
    assert ask("GET", "/repository/status", user="admin").body[REPOSITORY].endswith("_COMPLETE")


def test_a_document_goes_the_sdk_s_whole_way(ask, collection):
    # Given a document in alice's own collection
    mine = collection["collectionId"]
    document = ingested(ask, f"seals {secrets.token_hex(4)}.txt", mine)
    assert document["chunks"] >= 1
    one = ask("GET", f"/repository/{REPOSITORY}/{document['document_id']}")
    assert one.body["source"] == document["source"]

    # Then it is found
    query = f"query={quote('Who feeds the seals?')}&topK=3&collectionId={mine}&repositoryType={REPOSITORY}"
    hits = ask("GET", f"/repository/{REPOSITORY}/similaritySearch?{query}").body["docs"]
    assert "seventeen grey seals" in hits[0]["Document"]["page_content"]
    assert hits[0]["Document"]["metadata"]["source"] == document["source"]

    # And downloaded
    link = ask("GET", f"/repository/{REPOSITORY}/{document['document_id']}/download").body
    with urllib.request.urlopen(link, timeout=30) as response:
        assert response.read() == TEXT

    # And not by bob, who does not learn that it is there
    hidden = [
        ask("GET", f"/repository/{REPOSITORY}/collection/{mine}", user="bob"),
        ask("GET", f"/repository/{REPOSITORY}/document?collectionId={mine}", user="bob"),
        ask("GET", f"/repository/{REPOSITORY}/{document['document_id']}", user="bob"),
        ask("GET", f"/repository/{REPOSITORY}/{document['document_id']}/download", user="bob"),
        ask("GET", f"/repository/{REPOSITORY}/similaritySearch?{query}", user="bob"),
        ask(
            "DELETE",
            f"/repository/{REPOSITORY}/document",
            {"documentIds": [document["document_id"]]},
            user="bob",
        ),
        ask("DELETE", f"/repository/{REPOSITORY}/collection/{mine}", user="bob"),
    ]
    assert [answer.status for answer in hidden] == [404] * len(hidden)
    assert mine not in json.dumps(ask("GET", "/repository/collections", user="bob").body)

    # When it is deleted by its id, then it is gone
    path = f"/repository/{REPOSITORY}/document?collectionId={mine}"
    gone = ask("DELETE", path, {"documentIds": [document["document_id"]]})
    assert (gone.status, len(gone.body["jobs"])) == (200, 1)
    eventually("it is gone", lambda: ask("GET", path).body["documents"] == [], within=60)
    assert ask("GET", f"/repository/{REPOSITORY}/similaritySearch?{query}").body["docs"] == []


def test_documents_of_the_default_collection_go_by_their_name(ask):
    name = f"seals {secrets.token_hex(4)}.txt"
    document = ingested(ask, name, None)
    path = f"/repository/{REPOSITORY}/document?collectionId={EMBED}"
    by_name = f"{path}&documentName={quote(name)}"
    assert ask("DELETE", by_name, user="bob").status == 403  # he sees it and does not own it
    gone = ask("DELETE", by_name)
    assert (gone.status, gone.body["deletedCount"]) == (200, 1)
    eventually(
        "it is gone",
        lambda: (
            document["document_id"]
            not in [each["document_id"] for each in ask("GET", path).body["documents"]]
        ),
        within=60,
    )


def test_nobody_ingests_somebody_else_s_upload(ask):
    key = upload(ask, "hers.txt")
    body = {"embeddingModel": {"modelName": EMBED}, "keys": [key]}
    assert ask("POST", f"/repository/{REPOSITORY}/bulk", body, user="bob").status == 404
