"""Who may call what: one table for the REST API and the gateway. What is not in it is denied."""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Literal

from lisa.errors import Forbidden, NotFound, Unauthenticated
from lisa.identity.principal import Principal

Door = Literal["api", "gateway"]


class Who(StrEnum):
    """The callers that a rule admits. Groups of a single model are checked where the model is known."""

    PUBLIC = "public"
    USER = "user"
    RAG_ADMIN = "rag-admin"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Rule:
    """One way in. `{name}` in a path stands for exactly one segment that is not empty."""

    door: Door
    method: str
    path: str
    who: Who


def _api(method: str, path: str, who: Who) -> Rule:
    return Rule("api", method, path, who)


def _gateway(method: str, path: str, who: Who = Who.USER) -> tuple[Rule, ...]:
    """An inference route under each address that clients use for it."""
    return tuple(
        Rule("gateway", method, prefix + path, who) for prefix in ("/v1", "/v2/serve", "/v2/serve/v1")
    )


RULES: tuple[Rule, ...] = (
    _api("GET", "/api/models", Who.USER),
    _api("POST", "/api/models", Who.ADMIN),
    _api("GET", "/api/models/{modelId}", Who.USER),
    _api("DELETE", "/api/models/{modelId}", Who.ADMIN),
    _api("GET", "/api/metrics/users/all", Who.ADMIN),
    _api("GET", "/api/metrics/users/{userId}", Who.USER),
    # Their objects are checked where they are known: people see and revoke their own, administrators all.
    _api("GET", "/api/api-tokens", Who.USER),
    _api("POST", "/api/api-tokens", Who.USER),
    _api("GET", "/api/api-tokens/{id}", Who.USER),
    _api("POST", "/api/api-tokens/{id}", Who.ADMIN),
    _api("DELETE", "/api/api-tokens/{id}", Who.USER),
    _api("GET", "/api/limits", Who.ADMIN),
    _api("GET", "/api/limits/me", Who.USER),
    _api("GET", "/api/limits/{subjectType}/{subjectId}", Who.ADMIN),
    _api("PUT", "/api/limits/{subjectType}/{subjectId}", Who.ADMIN),
    _api("DELETE", "/api/limits/{subjectType}/{subjectId}", Who.ADMIN),
    _api("GET", "/api/prices", Who.ADMIN),
    _api("PUT", "/api/prices/{modelId}", Who.ADMIN),
    _api("DELETE", "/api/prices/{modelId}", Who.ADMIN),
    # Which collections somebody may search is checked where they are known (lisa.rag.access).
    _api("GET", "/api/repository/{repositoryId}/similaritySearch", Who.USER),
    _api("GET", "/api/repository/{repositoryId}/similaritySearch/inspect", Who.USER),
    # Repositories, collections and documents are checked where they are known (lisa.rag.access).
    _api("GET", "/api/repository", Who.USER),
    _api("POST", "/api/repository", Who.ADMIN),
    _api("GET", "/api/repository/collections", Who.USER),
    _api("GET", "/api/repository/{repositoryId}", Who.USER),
    _api("PUT", "/api/repository/{repositoryId}", Who.RAG_ADMIN),
    _api("DELETE", "/api/repository/{repositoryId}", Who.ADMIN),
    _api("GET", "/api/repository/{repositoryId}/collection", Who.USER),
    _api("POST", "/api/repository/{repositoryId}/collection", Who.USER),
    _api("GET", "/api/repository/{repositoryId}/collections", Who.USER),
    _api("GET", "/api/repository/{repositoryId}/collection/{collectionId}", Who.USER),
    _api("PUT", "/api/repository/{repositoryId}/collection/{collectionId}", Who.USER),
    _api("DELETE", "/api/repository/{repositoryId}/collection/{collectionId}", Who.USER),
    _api("POST", "/api/repository/{repositoryId}/collection/{collectionId}/reindex", Who.USER),
    _api("GET", "/api/repository/status", Who.ADMIN),
    _api("POST", "/api/repository/presigned-url", Who.USER),
    _api("POST", "/api/repository/{repositoryId}/bulk", Who.USER),
    _api("GET", "/api/repository/{repositoryId}/document", Who.USER),
    _api("DELETE", "/api/repository/{repositoryId}/document", Who.USER),
    _api("GET", "/api/repository/{repositoryId}/jobs", Who.USER),
    _api("POST", "/api/repository/{repositoryId}/jobs/{jobId}/redrive", Who.USER),
    # Behind all that has a word of its own there: a template gives way to words (rule_for).
    _api("GET", "/api/repository/{repositoryId}/{documentId}", Who.USER),
    _api("GET", "/api/repository/{repositoryId}/{documentId}/download", Who.USER),
    _api("GET", "/api/openapi.json", Who.PUBLIC),
    _api("GET", "/api/docs", Who.PUBLIC),
    _api("GET", "/api/audit", Who.ADMIN),
    *_gateway("GET", "/models"),
    *_gateway("GET", "/models/{modelId}"),
    *_gateway("POST", "/chat/completions"),
    *_gateway("POST", "/completions"),
    *_gateway("POST", "/embeddings"),
    *_gateway("POST", "/responses"),
    *_gateway("POST", "/messages"),
    *_gateway("POST", "/messages/count_tokens"),
    *_gateway("POST", "/images/generations"),
    *_gateway("POST", "/images/edits"),
    *_gateway("POST", "/audio/speech"),
    *_gateway("POST", "/audio/transcriptions"),
    *_gateway("POST", "/audio/translations"),
    *_gateway("POST", "/rerank"),
    # Whose files and vector stores they are is checked where they are known.
    *_gateway("GET", "/files"),
    *_gateway("POST", "/files"),
    *_gateway("GET", "/files/{fileId}"),
    *_gateway("DELETE", "/files/{fileId}"),
    *_gateway("GET", "/files/{fileId}/content"),
    *_gateway("GET", "/vector_stores"),
    *_gateway("POST", "/vector_stores"),
    *_gateway("GET", "/vector_stores/{vectorStoreId}"),
    *_gateway("POST", "/vector_stores/{vectorStoreId}"),
    *_gateway("DELETE", "/vector_stores/{vectorStoreId}"),
    *_gateway("POST", "/vector_stores/{vectorStoreId}/search"),
    *_gateway("GET", "/vector_stores/{vectorStoreId}/files"),
    *_gateway("POST", "/vector_stores/{vectorStoreId}/files"),
    *_gateway("GET", "/vector_stores/{vectorStoreId}/files/{fileId}"),
    *_gateway("POST", "/vector_stores/{vectorStoreId}/files/{fileId}"),
    *_gateway("DELETE", "/vector_stores/{vectorStoreId}/files/{fileId}"),
    *_gateway("GET", "/vector_stores/{vectorStoreId}/files/{fileId}/content"),
    *_gateway("POST", "/vector_stores/{vectorStoreId}/file_batches"),
    *_gateway("GET", "/vector_stores/{vectorStoreId}/file_batches/{batchId}"),
    *_gateway("POST", "/vector_stores/{vectorStoreId}/file_batches/{batchId}/cancel"),
    *_gateway("GET", "/vector_stores/{vectorStoreId}/file_batches/{batchId}/files"),
    Rule("gateway", "GET", "/v2/serve/model/info", Who.USER),
    Rule("gateway", "GET", "/v2/serve/health", Who.USER),
    Rule("gateway", "GET", "/v2/serve/health/liveliness", Who.USER),
    Rule("gateway", "GET", "/v2/serve/health/readiness", Who.USER),
    # Load balancers and schedulers ask these. The front door keeps /metrics inside.
    Rule("gateway", "GET", "/health", Who.PUBLIC),
    Rule("gateway", "GET", "/health/liveliness", Who.PUBLIC),
    Rule("gateway", "GET", "/health/readiness", Who.PUBLIC),
    Rule("gateway", "GET", "/metrics", Who.PUBLIC),
)


def rule_for(door: Door, method: str, path: str) -> Rule | None:
    """The rule for a call, or None. One slash at the end is the same path; methods are upper case."""
    if len(path) > 1 and path.endswith("/"):
        path = path[:-1]
    exact, templates = _index(door)
    rule = exact.get((method, path))
    if rule is not None:
        return rule
    segments = path.split("/")
    for template, candidate in templates.get((method, len(segments)), ()):
        if all(
            want == have or (want.startswith("{") and have)
            for want, have in zip(template, segments, strict=True)
        ):
            return candidate
    return None


def authorize(rule: Rule | None, principal: Principal | None) -> None:
    """Returns when the call is allowed.

    Raises NotFound without a rule (default deny), Unauthenticated when the rule needs a caller and there is
    none, Forbidden when it needs an admin. Admins may do what RAG admins may.
    """
    if rule is None:
        raise NotFound("There is no such route.")
    if rule.who is Who.PUBLIC:
        return
    if principal is None:
        raise Unauthenticated("No token was sent. Send `Authorization: Bearer <token>`.")
    if rule.who not in admitted(principal):
        raise Forbidden(
            "Only administrators may do this."
            if rule.who is Who.ADMIN
            else "Only administrators of retrieval may do this."
        )


def admitted(principal: Principal) -> frozenset[Who]:
    """The kinds of rules that let this caller in."""
    kinds = {Who.PUBLIC, Who.USER}
    if principal.is_rag_admin or principal.is_admin:
        kinds.add(Who.RAG_ADMIN)
    if principal.is_admin:
        kinds.add(Who.ADMIN)
    return frozenset(kinds)


_Exact = dict[tuple[str, str], Rule]
_Templates = dict[tuple[str, int], list[tuple[list[str], Rule]]]


@lru_cache(maxsize=2)
def _index(door: Door) -> tuple[_Exact, _Templates]:
    exact: _Exact = {}
    templates: _Templates = {}
    for rule in RULES:
        if rule.door != door:
            continue
        if "{" in rule.path:
            segments = rule.path.split("/")
            templates.setdefault((rule.method, len(segments)), []).append((segments, rule))
        else:
            exact[rule.method, rule.path] = rule
    return exact, templates
