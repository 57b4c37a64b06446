"""Files and vector stores in the OpenAPI document: what is sent; what is answered has OpenAI's shapes."""

from collections.abc import Mapping
from typing import Any

_TEXT = {"type": "string"}
_INTEGER = {"type": "integer"}
_PAIRS = {"type": "object", "maxProperties": 16}
_METADATA = _PAIRS | {"additionalProperties": {"type": "string", "maxLength": 512}}
_ATTRIBUTES = _PAIRS | {"additionalProperties": {"type": ["string", "number", "boolean"]}}
_CHUNKING = {
    "type": "object",
    "required": ["type"],
    "properties": {
        "type": {"enum": ["auto", "static"]},
        "static": {
            "type": "object",
            "properties": {
                "max_chunk_size_tokens": {"type": "integer", "minimum": 100, "maximum": 4096},
                "chunk_overlap_tokens": {"type": "integer", "minimum": 0, "maximum": 2048},
            },
        },
    },
}
_FILE_IDS = {"type": "array", "items": _TEXT, "maxItems": 2000}
_ATTACHED = {"file_id": _TEXT, "attributes": _ATTRIBUTES, "chunking_strategy": _CHUNKING}


def _object(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": properties}


_STORE = "/v1/vector_stores/{vectorStoreId}"
_BODIES: Mapping[tuple[str, str], dict[str, Any]] = {
    ("POST", "/v1/vector_stores"): _object(
        name=_TEXT,
        description=_TEXT,
        metadata=_METADATA
        | {
            "description": "The caller's own, and of the vector store: `repository` and `embedding_model` when it is "
            "made, `allowed_groups` (commas between them) at any time; `drop_folder` is told"
        },
        file_ids=_FILE_IDS,
        chunking_strategy=_CHUNKING,
    ),
    ("POST", _STORE): _object(name=_TEXT, metadata=_METADATA),
    ("POST", f"{_STORE}/search"): _object(
        "query",
        query={"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}]},
        filters={"type": "object"},
        max_num_results={"type": "integer", "minimum": 1, "maximum": 50},
        ranking_options={"type": "object"},
        rewrite_query={"type": "boolean", "description": "Accepted; queries are searched for as they are"},
    ),
    ("POST", f"{_STORE}/files"): _object("file_id", **_ATTACHED),
    ("POST", f"{_STORE}/files/{{fileId}}"): _object("attributes", attributes=_ATTRIBUTES),
    ("POST", f"{_STORE}/file_batches"): _object(
        file_ids=_FILE_IDS,
        files={"type": "array", "maxItems": 2000, "items": _object("file_id", **_ATTACHED)},
        attributes=_ATTRIBUTES,
        chunking_strategy=_CHUNKING,
    ),
    ("POST", "/v1/files"): _object(
        "file",
        "purpose",
        file={"type": "string", "format": "binary"},
        purpose={"enum": ["assistants", "user_data"]},
    ),
}
_PAGED = {"limit": _INTEGER, "order": {"enum": ["asc", "desc"]}, "after": _TEXT, "before": _TEXT}
_QUERIES: Mapping[str, dict[str, Any]] = {
    "/v1/files": {"purpose": _TEXT, **{name: kind for name, kind in _PAGED.items() if name != "before"}},
    "/v1/vector_stores": _PAGED,
    f"{_STORE}/files": {"filter": _TEXT, **_PAGED},
    f"{_STORE}/files/{{fileId}}/content": {"page": _TEXT},
    f"{_STORE}/file_batches/{{batchId}}/files": {"filter": _TEXT, **_PAGED},
}
_CONTENT = "/v1/files/{fileId}/content"


def is_retrieval(path: str) -> bool:
    return path.startswith(("/v1/files", "/v1/vector_stores"))


def describe(method: str, path: str, operation: dict[str, Any]) -> None:
    """Adds what is sent to the operation, and says what is answered."""
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    parameters = [{"name": name, "in": "path", "required": True, "schema": _TEXT} for name in names]
    if method == "GET":
        parameters += [
            {"name": name, "in": "query", "schema": kind} for name, kind in _QUERIES.get(path, {}).items()
        ]
    if parameters:
        operation["parameters"] = parameters
    body = _BODIES.get((method, path))
    if body is not None:
        kind = "multipart/form-data" if path == "/v1/files" else "application/json"
        operation["requestBody"] = {"required": True, "content": {kind: {"schema": body}}}
    answer: dict[str, Any] = {"application/json": {"schema": {"type": "object"}}}
    if path == _CONTENT:
        answer = {"application/octet-stream": {}}
    operation["responses"]["200"]["content"] = answer
