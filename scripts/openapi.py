"""Writes the OpenAPI documents from the code that answers: `openapi.py [--check]`.

That of the management API is committed beside the function that serves it at `/api/openapi.json`, because that
function has none of the others' code; that of inference lies in docs/.
"""

import importlib.util
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from pydantic.alias_generators import to_camel

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "functions" / "api_docs" / "openapi.json"
INFERENCE = ROOT / "docs" / "inference.openapi.json"
APIS = (
    "models_api", "metrics_api", "tokens_api", "limits_api", "audit_api", "repositories_api", "collections_api",
    "rag_search",
    "documents_api",
)  # fmt: skip
# Posts that answer 200, as upstream's clients want it.
MAKES_NOTHING = ("/presigned-url", "/bulk", "/redrive", "/reindex")
DESCRIPTION = (
    "The management API of LISA. Send a token as `Authorization: Bearer <token>`. Inference lies under /v1 and speaks "
    "OpenAI's API (and Anthropic's at /v1/messages): use any client of theirs."
)


def document() -> dict[str, Any]:
    """One document for all functions behind the API, with the one shape of errors."""
    from lisa.identity.policy import Who, rule_for
    from lisa.models.schema import ErrorAnswer

    os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
    merged: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "LISA management API", "version": "1", "description": DESCRIPTION},
        "paths": {
            "/api/openapi.json": {"get": _public("This document", "application/json")},
            "/api/docs": {"get": _public("This document, to be read", "text/html")},
        },
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {"ErrorAnswer": ErrorAnswer.model_json_schema(by_alias=True)},
        },
    }
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}}}
    for name in APIS:
        spec = json.loads(_app(name).get_openapi_json_schema(title=name, version="1"))
        for path, methods in spec["paths"].items():
            public = re.sub(r"\{(\w+)\}", lambda found: "{" + to_camel(found[1]) + "}", path)
            for method, operation in methods.items():
                rule = rule_for("api", method.upper(), public)
                if rule is None:
                    raise SystemExit(
                        f"{method.upper()} {public} has no entry in the policy (lisa.identity.policy)"
                    )
                operation.pop("operationId", None)
                for parameter in operation.get("parameters", []):
                    if parameter["in"] == "path":
                        parameter["name"] = to_camel(parameter["name"])
                operation["responses"].pop("422", None)
                if (
                    method == "post"
                    and not public.endswith(MAKES_NOTHING)
                    and "200" in operation["responses"]
                ):
                    operation["responses"]["201"] = operation["responses"].pop("200") | {
                        "description": "Created"
                    }
                operation["responses"]["default"] = {"description": "What was wrong", "content": error}
                operation["security"] = [] if rule.who is Who.PUBLIC else [{"token": []}]
                operation["x-lisa-who"] = str(rule.who)
                merged["paths"].setdefault(public, {})[method] = operation
        schemas = merged["components"]["schemas"]
        for key, value in spec.get("components", {}).get("schemas", {}).items():
            if "ValidationError" in key:
                continue
            if schemas.setdefault(key, value) != value:
                raise SystemExit(f"two functions mean different things by {key}: give one another name")
    return merged


def _public(summary: str, content_type: str) -> dict[str, Any]:
    return {
        "summary": summary,
        "tags": ["Documentation"],
        "security": [],
        "responses": {"200": {"description": summary, "content": {content_type: {}}}},
    }


def _app(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"function_{name}", ROOT / "functions" / name / "app.py")
    if spec is None or spec.loader is None:
        raise SystemExit(f"functions/{name}/app.py is missing")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.app


def main() -> None:
    from lisa_gateway.openapi import document as inference

    for path, content in ((DOCUMENT, document()), (INFERENCE, inference())):
        text = json.dumps(content, indent=1, sort_keys=True) + "\n"
        if "--check" not in sys.argv[1:]:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            raise SystemExit(f"{path.relative_to(ROOT)} is not up to date: run scripts/openapi.py")


if __name__ == "__main__":
    main()
