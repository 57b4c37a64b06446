"""The gateway's routes as an OpenAPI document, made from the tables that the gateway itself goes by."""

from collections.abc import Mapping
from typing import Any

from lisa.identity import RULES, Rule, Who

from lisa_gateway.answers import Dialect
from lisa_gateway.endpoints import ENDPOINTS, Endpoint
from lisa_gateway.retrieval.documentation import describe, is_retrieval

DESCRIPTION = (
    "Inference speaks OpenAI's API, and Anthropic's at /v1/messages. What lies under /v1 lies under /v2/serve and "
    "/v2/serve/v1 as well. A token goes into `Authorization` (bare or after `Bearer`), `Api-Key` or `x-api-key`. "
    "Fields that are not listed are passed on to the model's engine, but for those that would steer the gateway."
)
_ALIASES = ("/v2/serve/v1/", "/v2/serve/")
_TEXT = {"type": "string"}
_OPENAI_ERROR = {
    "type": "object",
    "required": ["error"],
    "additionalProperties": False,
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": _TEXT,
                "type": _TEXT,
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
_ANTHROPIC_ERROR = {
    "type": "object",
    "required": ["type", "error", "request_id"],
    "additionalProperties": False,
    "properties": {
        "type": {"const": "error"},
        "error": {
            "type": "object",
            "required": ["type", "message"],
            "properties": {"type": _TEXT, "message": _TEXT},
        },
        "request_id": _TEXT,
    },
}
_MODEL = {
    "type": "object",
    "required": ["id", "object", "created", "owned_by"],
    "properties": {
        "id": _TEXT,
        "object": {"const": "model"},
        "created": {"type": "integer", "description": "Epoch seconds"},
        "owned_by": _TEXT,
    },
}
_MODELS = {
    "type": "object",
    "required": ["object", "data"],
    "properties": {
        "object": {"const": "list"},
        "data": {"type": "array", "items": {"$ref": "#/components/schemas/Model"}},
    },
}


def document() -> dict[str, Any]:
    """Every route once, by its first address. The gateway's own /metrics is for operators and left out."""
    paths: dict[str, Any] = {}
    for rule in RULES:
        if rule.door == "gateway" and rule.path != "/metrics" and not _is_alias(rule.path):
            paths.setdefault(rule.path, {})[rule.method.lower()] = _operation(rule)
    return {
        "openapi": "3.1.0",
        "info": {"title": "LISA inference API", "version": "1", "description": DESCRIPTION},
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
            "schemas": {
                "Model": _MODEL,
                "Models": _MODELS,
                "Error": _OPENAI_ERROR,
                "AnthropicError": _ANTHROPIC_ERROR,
            },
        },
    }


def _is_alias(path: str) -> bool:
    """Whether the same route has an address under /v1."""
    first = next(("/v1/" + path[len(prefix) :] for prefix in _ALIASES if path.startswith(prefix)), "")
    return any(rule.path == first for rule in RULES)


def _operation(rule: Rule) -> dict[str, Any]:
    endpoint = ENDPOINTS.get(rule.path.removeprefix("/v1/"))
    dialect = endpoint.dialect if endpoint is not None else Dialect.OPENAI
    error = "AnthropicError" if dialect is Dialect.ANTHROPIC else "Error"
    operation: dict[str, Any] = {
        "security": [] if rule.who is Who.PUBLIC else [{"token": []}, {"apiKey": []}],
        "responses": {
            "200": {"description": "What was asked for", "content": _content(rule, endpoint)},
            "default": {
                "description": "What was wrong",
                "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{error}"}}},
            },
        },
    }
    if is_retrieval(rule.path):
        describe(rule.method, rule.path, operation)
    if "{modelId}" in rule.path:
        operation["parameters"] = [{"name": "modelId", "in": "path", "required": True, "schema": _TEXT}]
    if endpoint is not None:
        kind = "multipart/form-data" if endpoint.multipart else "application/json"
        operation["requestBody"] = {"required": True, "content": {kind: {"schema": _body(endpoint)}}}
    return operation


def _content(rule: Rule, endpoint: Endpoint | None) -> dict[str, Any]:
    """What a model answers is the engine's; what the gateway answers itself has a schema."""
    if endpoint is not None:
        return {"application/json": {}, "text/event-stream": {}}
    if rule.path.endswith("/models"):
        return {"application/json": {"schema": {"$ref": "#/components/schemas/Models"}}}
    if rule.path.endswith("/models/{modelId}"):
        return {"application/json": {"schema": {"$ref": "#/components/schemas/Model"}}}
    return {"application/json": {"schema": {"type": "object"}}}


def _body(endpoint: Endpoint) -> Mapping[str, Any]:
    properties = {name: dict(kind.schema) for name, kind in endpoint.fields.items()}
    if "messages" in properties:
        properties["messages"] = {
            "type": "array",
            "minItems": 1,
            "items": {"type": "object", "required": ["role"], "properties": {"role": _TEXT}},
        }
    return {"type": "object", "required": ["model", *endpoint.required], "properties": properties}
