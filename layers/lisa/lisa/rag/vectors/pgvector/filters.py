"""A filter as a condition of SQL. Every value is bound; nothing of a filter becomes part of the statement's text.

The condition speaks of a document `d` and, for `page`, of a row `c` with the chunk's page.
"""

import json
from collections.abc import Callable, Iterable

from lisa.rag.filters import BUILT_IN, Comparison, Compound, Filter, Operator, comparisons
from lisa.rag.records import Attribute

Condition = tuple[str, list[object]]

_NEVER: Condition = ("false", [])
_SIGNS = {Operator.GT: ">", Operator.GTE: ">=", Operator.LT: "<", Operator.LTE: "<="}
_COLUMNS = {
    "document_id": "d.id",
    "document_name": "d.name",
    "source": "d.source",
    "owner": "d.owner",
    "media_type": "d.media_type",
    "uploaded_at": "d.uploaded_at",
    "page": "c.page",
}


def compile_filter(found: Filter | None) -> Condition:
    """A condition for WHERE and the values that it binds, in order."""
    if found is None:
        return "true", []
    if isinstance(found, Compound):
        return _joined(" AND " if found.every else " OR ", (compile_filter(part) for part in found.filters))
    if found.operator in (Operator.NE, Operator.NIN):
        text, values = _fits(found, Operator.EQ if found.operator is Operator.NE else Operator.IN)
        return f"NOT {text}", values
    return _fits(found, found.operator)


def asks_for_pages(found: Filter | None) -> bool:
    return found is not None and any(part.key == "page" for part in comparisons(found))


def _joined(word: str, conditions: Iterable[Condition]) -> Condition:
    parts = list(conditions)
    return f"({word.join(text for text, _ in parts)})", [value for _, values in parts for value in values]


def _fits(comparison: Comparison, operator: Operator) -> Condition:
    """Never NULL, so that it can be negated."""
    one: Callable[[str, Operator, Attribute], Condition]
    if comparison.key == "tags":
        one = _tag
    elif comparison.key in BUILT_IN:
        one = _built_in
    else:
        one = _attribute
    return _joined(
        " OR ",
        (one(comparison.key, operator, value) if _storable(value) else _NEVER for value in comparison.values),
    )


def _storable(value: Attribute) -> bool:
    """PostgreSQL holds no half of a surrogate pair, so nothing there equals one."""
    return not isinstance(value, str) or value == value.encode(errors="ignore").decode()


def _is_number(value: Attribute) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool)


def _tag(_: str, operator: Operator, value: Attribute) -> Condition:
    if not isinstance(value, str):
        return _NEVER
    if operator in _SIGNS:
        return (
            f'EXISTS (SELECT 1 FROM unnest(d.tags) AS tag WHERE tag COLLATE "C" {_SIGNS[operator]} %s)',
            [value],
        )
    return "d.tags @> ARRAY[%s]", [value]


def _built_in(key: str, operator: Operator, value: Attribute) -> Condition:
    column = _COLUMNS[key]
    if BUILT_IN[key] is str:
        if not isinstance(value, str):
            return _NEVER
        return f'{column} COLLATE "C" {_SIGNS.get(operator, "=")} %s', [value]
    if not _is_number(value):
        return _NEVER
    return f"coalesce({column} {_SIGNS.get(operator, '=')} %s::numeric, false)", [repr(float(value))]


def _attribute(key: str, operator: Operator, value: Attribute) -> Condition:
    if operator not in _SIGNS:
        # Containment compares type and value, and an index answers it.
        return "d.attributes @> %s::jsonb", [json.dumps({key: value})]
    sign = _SIGNS[operator]
    if isinstance(value, str):
        return (
            "CASE WHEN jsonb_typeof(d.attributes -> %s) = 'string'"
            f' THEN (d.attributes ->> %s) COLLATE "C" {sign} %s ELSE false END',
            [key, key, value],
        )
    return (
        "CASE WHEN jsonb_typeof(d.attributes -> %s) = 'number'"
        f" THEN (d.attributes ->> %s)::numeric {sign} %s::numeric ELSE false END",
        [key, key, repr(float(value))],
    )
