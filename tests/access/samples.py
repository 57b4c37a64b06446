"""A call for every rule of the policy that changes nothing, and what it answers to those whom the rule lets in."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from enum import StrEnum

from lisa.identity import RULES, Rule
from lisa_gateway.endpoints import ENDPOINTS

TEAM_MODEL = "matrix-team-a"
"""A model that only the group team-a may use; for the tests, alice is in it and bob is not."""

TEAM_REPOSITORY = "matrix-team-a"
"""A repository that only the group team-a may see."""

ALICES_TOKEN = "{alices-token}"
"""In a path: the UUID of an API token of alice's, which is known once it is made."""

MISSING = "00000000-0000-4000-8000-000000000000"
"""An identifier that nothing has."""

JSON = "application/json"
_BOUNDARY = "sample"


class Sight(StrEnum):
    """Who sees the object of the call; administrators always do."""

    EVERYONE = "everyone"
    TEAM_A = "team-a"
    ALICE = "alice"


@dataclass(frozen=True)
class Sample:
    """`answers` are the statuses for a caller who is let in and sees the object; `hidden` for one who does not."""

    path: str
    answers: tuple[int, ...] = (200,)
    body: bytes | None = None
    content_type: str = JSON
    sight: Sight = Sight.EVERYONE
    hidden: tuple[int, ...] = (404,)

    def at(self, alices_token: str) -> Sample:
        """The same call with the UUID in its path."""
        return replace(self, path=self.path.replace(ALICES_TOKEN, alices_token))


def _json(document: object) -> bytes:
    return json.dumps(document).encode()


_API: dict[tuple[str, str], Sample] = {
    ("GET", "/api/models"): Sample("/api/models"),
    ("POST", "/api/models"): Sample("/api/models", (400,), b"{}"),
    ("GET", "/api/models/{modelId}"): Sample(f"/api/models/{TEAM_MODEL}", sight=Sight.TEAM_A),
    ("DELETE", "/api/models/{modelId}"): Sample(f"/api/models/{MISSING}", (404,)),
    ("GET", "/api/metrics/users/all"): Sample("/api/metrics/users/all"),
    ("GET", "/api/metrics/users/{userId}"): Sample("/api/metrics/users/alice", sight=Sight.ALICE),
    ("GET", "/api/api-tokens"): Sample("/api/api-tokens"),
    ("POST", "/api/api-tokens"): Sample("/api/api-tokens", (400,), b"{}"),
    ("GET", "/api/api-tokens/{id}"): Sample(f"/api/api-tokens/{ALICES_TOKEN}", sight=Sight.ALICE),
    ("POST", "/api/api-tokens/{id}"): Sample("/api/api-tokens/nobody", (400,), b"{}"),
    ("DELETE", "/api/api-tokens/{id}"): Sample(f"/api/api-tokens/{MISSING}", (404,)),
    ("GET", "/api/limits"): Sample("/api/limits"),
    ("GET", "/api/limits/me"): Sample("/api/limits/me"),
    ("GET", "/api/limits/{subjectType}/{subjectId}"): Sample(f"/api/limits/user/{MISSING}", (404,)),
    ("PUT", "/api/limits/{subjectType}/{subjectId}"): Sample(f"/api/limits/user/{MISSING}", (400,), b"[]"),
    ("DELETE", "/api/limits/{subjectType}/{subjectId}"): Sample(f"/api/limits/user/{MISSING}", (404,)),
    ("GET", "/api/prices"): Sample("/api/prices"),
    ("PUT", "/api/prices/{modelId}"): Sample(f"/api/prices/{MISSING}", (400,), b"[]"),
    ("DELETE", "/api/prices/{modelId}"): Sample(f"/api/prices/{MISSING}", (404,)),
    ("GET", "/api/repository/{repositoryId}/similaritySearch"): Sample(
        f"/api/repository/{MISSING}/similaritySearch?query=a&collectionId=a", (404,)
    ),
    ("GET", "/api/repository/{repositoryId}/similaritySearch/inspect"): Sample(
        f"/api/repository/{MISSING}/similaritySearch/inspect?query=a&collectionId=a", (404,)
    ),
    ("GET", "/api/repository"): Sample("/api/repository"),
    ("POST", "/api/repository"): Sample("/api/repository", (400,), b"{}"),
    ("GET", "/api/repository/collections"): Sample("/api/repository/collections"),
    ("GET", "/api/repository/{repositoryId}"): Sample(
        f"/api/repository/{TEAM_REPOSITORY}", sight=Sight.TEAM_A
    ),
    ("PUT", "/api/repository/{repositoryId}"): Sample(f"/api/repository/{TEAM_REPOSITORY}", (400,), b"[]"),
    ("DELETE", "/api/repository/{repositoryId}"): Sample(f"/api/repository/{MISSING}", (404,)),
    ("GET", "/api/repository/{repositoryId}/collection"): Sample(
        f"/api/repository/{TEAM_REPOSITORY}/collection", sight=Sight.TEAM_A
    ),
    ("POST", "/api/repository/{repositoryId}/collection"): Sample(
        f"/api/repository/{TEAM_REPOSITORY}/collection", (400,), b'{"name": "New"}', sight=Sight.TEAM_A
    ),
    ("GET", "/api/repository/{repositoryId}/collections"): Sample(
        f"/api/repository/{TEAM_REPOSITORY}/collections", sight=Sight.TEAM_A
    ),
    ("GET", "/api/repository/{repositoryId}/collection/{collectionId}"): Sample(
        f"/api/repository/{TEAM_REPOSITORY}/collection/{MISSING}", (404,)
    ),
    ("PUT", "/api/repository/{repositoryId}/collection/{collectionId}"): Sample(
        f"/api/repository/{TEAM_REPOSITORY}/collection/{MISSING}", (404,), b"{}"
    ),
    ("DELETE", "/api/repository/{repositoryId}/collection/{collectionId}"): Sample(
        f"/api/repository/{TEAM_REPOSITORY}/collection/{MISSING}", (404,)
    ),
    ("POST", "/api/repository/{repositoryId}/collection/{collectionId}/reindex"): Sample(
        f"/api/repository/{TEAM_REPOSITORY}/collection/{MISSING}/reindex", (404,), b"{}"
    ),
    ("GET", "/api/repository/status"): Sample("/api/repository/status"),
    ("POST", "/api/repository/presigned-url"): Sample("/api/repository/presigned-url", (400,), b"a/b.txt"),
    ("POST", "/api/repository/{repositoryId}/bulk"): Sample(
        f"/api/repository/{TEAM_REPOSITORY}/bulk", (400,), b'{"keys": []}'
    ),
    ("GET", "/api/repository/{repositoryId}/document"): Sample(
        f"/api/repository/{TEAM_REPOSITORY}/document", sight=Sight.TEAM_A
    ),
    ("DELETE", "/api/repository/{repositoryId}/document"): Sample(
        f"/api/repository/{TEAM_REPOSITORY}/document", (404,), _json({"documentIds": [MISSING]})
    ),
    ("GET", "/api/repository/{repositoryId}/jobs"): Sample(
        f"/api/repository/{TEAM_REPOSITORY}/jobs", sight=Sight.TEAM_A
    ),
    ("POST", "/api/repository/{repositoryId}/jobs/{jobId}/redrive"): Sample(
        f"/api/repository/{TEAM_REPOSITORY}/jobs/{MISSING}/redrive", (404,)
    ),
    ("GET", "/api/repository/{repositoryId}/{documentId}"): Sample(
        f"/api/repository/{TEAM_REPOSITORY}/{MISSING}", (404,)
    ),
    ("GET", "/api/repository/{repositoryId}/{documentId}/download"): Sample(
        f"/api/repository/{TEAM_REPOSITORY}/{MISSING}/download", (404,)
    ),
    ("GET", "/api/openapi.json"): Sample("/api/openapi.json"),
    ("GET", "/api/docs"): Sample("/api/docs"),
    ("GET", "/api/audit"): Sample("/api/audit"),
}

_PREFIXES = ("/v2/serve/v1", "/v2/serve", "/v1")
_GATEWAY: dict[str, Sample] = {
    "/v2/serve/model/info": Sample("/v2/serve/model/info"),
    "/v2/serve/health": Sample("/v2/serve/health"),
    "/v2/serve/health/liveliness": Sample("/v2/serve/health/liveliness"),
    "/v2/serve/health/readiness": Sample("/v2/serve/health/readiness"),
    "/health": Sample("/health"),
    "/health/liveliness": Sample("/health/liveliness"),
    "/health/readiness": Sample("/health/readiness"),
    "/metrics": Sample("/metrics"),
}


_FILE = "file-" + "0" * 32
_STORE = "vs_default." + MISSING
_BATCH = "vsfb_" + "0" * 32
_EMPTY_FORM = f"--{_BOUNDARY}--\r\n".encode()
# What is whose is tried where there are files and vector stores; here there are none.
_RETRIEVAL: dict[tuple[str, str], Sample] = {
    ("GET", "files"): Sample("files"),
    ("POST", "files"): Sample("files", (400,), _EMPTY_FORM, f"multipart/form-data; boundary={_BOUNDARY}"),
    ("GET", "files/{fileId}"): Sample(f"files/{_FILE}", (404,)),
    ("DELETE", "files/{fileId}"): Sample(f"files/{_FILE}", (404,)),
    ("GET", "files/{fileId}/content"): Sample(f"files/{_FILE}/content", (404,)),
    ("GET", "vector_stores"): Sample("vector_stores"),
    ("POST", "vector_stores"): Sample("vector_stores", (400,), b'{"name": 1}'),
    ("GET", "vector_stores/{vectorStoreId}"): Sample(f"vector_stores/{_STORE}", (404,)),
    ("POST", "vector_stores/{vectorStoreId}"): Sample(f"vector_stores/{_STORE}", (404,), b"{}"),
    ("DELETE", "vector_stores/{vectorStoreId}"): Sample(f"vector_stores/{_STORE}", (404,)),
    ("POST", "vector_stores/{vectorStoreId}/search"): Sample(
        f"vector_stores/{_STORE}/search", (404,), b'{"query": "x"}'
    ),
    ("GET", "vector_stores/{vectorStoreId}/files"): Sample(f"vector_stores/{_STORE}/files", (404,)),
    ("POST", "vector_stores/{vectorStoreId}/files"): Sample(
        f"vector_stores/{_STORE}/files", (404,), _json({"file_id": _FILE})
    ),
    ("GET", "vector_stores/{vectorStoreId}/files/{fileId}"): Sample(
        f"vector_stores/{_STORE}/files/{_FILE}", (404,)
    ),
    ("POST", "vector_stores/{vectorStoreId}/files/{fileId}"): Sample(
        f"vector_stores/{_STORE}/files/{_FILE}", (404,), b'{"attributes": {}}'
    ),
    ("DELETE", "vector_stores/{vectorStoreId}/files/{fileId}"): Sample(
        f"vector_stores/{_STORE}/files/{_FILE}", (404,)
    ),
    ("GET", "vector_stores/{vectorStoreId}/files/{fileId}/content"): Sample(
        f"vector_stores/{_STORE}/files/{_FILE}/content", (404,)
    ),
    ("POST", "vector_stores/{vectorStoreId}/file_batches"): Sample(
        f"vector_stores/{_STORE}/file_batches", (404,), _json({"file_ids": [_FILE]})
    ),
    ("GET", "vector_stores/{vectorStoreId}/file_batches/{batchId}"): Sample(
        f"vector_stores/{_STORE}/file_batches/{_BATCH}", (404,)
    ),
    ("POST", "vector_stores/{vectorStoreId}/file_batches/{batchId}/cancel"): Sample(
        f"vector_stores/{_STORE}/file_batches/{_BATCH}/cancel", (404,), b"{}"
    ),
    ("GET", "vector_stores/{vectorStoreId}/file_batches/{batchId}/files"): Sample(
        f"vector_stores/{_STORE}/file_batches/{_BATCH}/files", (404,)
    ),
}


def sample_for(rule: Rule) -> Sample:
    """The harmless call for a rule.

    Raises AssertionError, saying what to add, for a rule that has none.
    """
    found = _API.get((rule.method, rule.path)) if rule.door == "api" else _gateway(rule)
    assert found is not None, (
        f"The access tests know no harmless call of {rule.method} {rule.path}: add one to tests/access/samples.py, "
        "with an object that only alice or team-a may see if the route has one."
    )
    return found


def _gateway(rule: Rule) -> Sample | None:
    if rule.path in _GATEWAY:
        return _GATEWAY[rule.path]
    prefix = next((prefix for prefix in _PREFIXES if rule.path.startswith(prefix + "/")), "")
    name = rule.path[len(prefix) + 1 :]
    if rule.method == "GET" and name == "models":
        return Sample(rule.path)
    if rule.method == "GET" and name == "models/{modelId}":
        return Sample(f"{prefix}/models/{TEAM_MODEL}", sight=Sight.TEAM_A)
    if (rule.method, name) in _RETRIEVAL:
        sample = _RETRIEVAL[rule.method, name]
        return replace(sample, path=f"{prefix}/{sample.path}")
    endpoint = ENDPOINTS.get(name)
    if endpoint is None or rule.method != "POST":
        return None
    # For those who see the model the call is wrong: a field is missing, or the model is of another kind.
    if endpoint.multipart:
        lines = (
            f"--{_BOUNDARY}",
            'Content-Disposition: form-data; name="model"',
            "",
            TEAM_MODEL,
            f"--{_BOUNDARY}--",
            "",
        )
        kind, body = f"multipart/form-data; boundary={_BOUNDARY}", "\r\n".join(lines).encode()
    else:
        kind, body = JSON, _json({"model": TEAM_MODEL})
    return Sample(rule.path, (400,), body, kind, Sight.TEAM_A)


def without_a_rule() -> set[tuple[str, str]]:
    """Calls of routes that the policy does not know."""
    known = {(rule.method, rule.path) for rule in RULES}
    return (set(_API) | {("GET", path) for path in _GATEWAY}) - known
