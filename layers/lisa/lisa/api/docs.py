"""A page that a person can read, made from an OpenAPI document."""

import json
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882 }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
section { border-top: 1px solid var(--line); padding: 1rem 0 }
h2 { font-size: 1.1rem; margin: 0 0 .3rem } h2 code { font-size: 1rem }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid var(--line) }
code { background: var(--soft); padding: .1em .3em; border-radius: .2em; overflow-wrap: anywhere }
"""


def page(document: str) -> str:
    """HTML without scripts: every route with its parameters and fields."""
    spec = json.loads(document)
    info = spec["info"]
    schemas = spec.get("components", {}).get("schemas", {})
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width, initial-scale=1'>",
        f"<title>{escape(info['title'])}</title><style>{_STYLE}</style>",
        f"<main><h1>{escape(info['title'])}</h1><p>{escape(info.get('description', ''))}</p>",
        "<p>The same for programs: <a href='openapi.json'>openapi.json</a>.</p>",
    ]
    for path, methods in spec["paths"].items():
        for method, operation in methods.items():
            parts.append(_operation(path, method, operation, schemas))
    parts.append("<section><h2>Fields</h2>")
    parts += [_schema(name, schema) for name, schema in sorted(schemas.items())]
    parts.append("</section></main></html>")
    return "".join(parts)


def _operation(path: str, method: str, operation: dict[str, Any], schemas: dict[str, Any]) -> str:
    rows = [
        (p["name"], p["in"], _kind(p.get("schema", {})), p.get("description", ""))
        for p in operation.get("parameters", [])
    ]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    if body:
        rows.append(("(body)", "JSON", _kind(body), ""))
    answers = [
        (status, answer.get("description", ""), _kind(_answer_schema(answer)))
        for status, answer in operation.get("responses", {}).items()
    ]
    text = f"<section><h2><code>{method.upper()} {escape(path)}</code></h2>"
    text += f"<p>{escape(operation.get('summary', ''))}</p>"
    if rows:
        text += _table(("Parameter", "In", "Type", ""), rows)
    return text + _table(("Answer", "", "Type"), answers) + "</section>"


def _answer_schema(answer: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = answer.get("content", {}).get("application/json", {}).get("schema", {})
    return schema


def _schema(name: str, schema: dict[str, Any]) -> str:
    required = set(schema.get("required", []))
    rows = [
        (field, _kind(part), "required" if field in required else "", part.get("description", ""))
        for field, part in schema.get("properties", {}).items()
    ]
    head = f"<h3 id='{escape(name)}'>{escape(name)}</h3><p>{escape(schema.get('description', ''))}</p>"
    return head + (_table(("Field", "Type", "", ""), rows) if rows else "")


def _kind(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    if "anyOf" in schema:
        return " or ".join(_kind(part) for part in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(str(value) for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return str(schema.get("type", ""))


def _table(head: tuple[str, ...], rows: list[Any]) -> str:
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = "".join(
        "<tr>" + "".join(f"<td>{_cell(i, value)}</td>" for i, value in enumerate(row)) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{lines}</tbody></table>"


def _cell(position: int, value: str) -> str:
    return f"<code>{escape(value)}</code>" if position == 0 else escape(value)
