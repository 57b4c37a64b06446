"""Filters on what is known of a document: a small language, the same for every store and every API.

The shape is that of OpenAI's vector stores: `{"type": "eq", "key": "year", "value": 2024}`, and `and`/`or` of
`filters`. Values never become part of a statement: stores bind them, and keys are checked here.
https://platform.openai.com/docs/api-reference/vector-stores/search
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from lisa.errors import InvalidRequest
from lisa.rag.records import Attribute

MAX_DEPTH = 8
MAX_COMPARISONS = 64
MAX_VALUES = 256
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")

# What can be asked of every document, beside its own attributes.
BUILT_IN: Mapping[str, type] = {
    "document_id": str,
    "document_name": str,
    "source": str,
    "owner": str,
    "media_type": str,
    "uploaded_at": float,
    "page": float,
    "tags": str,
}


class Operator(StrEnum):
    EQ = "eq"
    NE = "ne"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    IN = "in"
    NIN = "nin"


_OPERATORS = frozenset(str(operator) for operator in Operator)
ORDERING = frozenset({Operator.GT, Operator.GTE, Operator.LT, Operator.LTE})


@dataclass(frozen=True, slots=True)
class Comparison:
    """One field against one value; against several for `in` and `nin`. `tags` holds a value when any tag equals it.

    A document without the field, or with a value of another type, fits `ne` and `nin` only.
    """

    key: str
    operator: Operator
    values: tuple[Attribute, ...]


@dataclass(frozen=True, slots=True)
class Compound:
    """All of the filters, or any of them."""

    every: bool
    filters: tuple["Filter", ...]


Filter = Comparison | Compound


def parse(value: object) -> Filter:
    """Raises InvalidRequest that names the part that is wrong."""
    found = _parse(value, "filter", 1)
    if sum(1 for _ in comparisons(found)) > MAX_COMPARISONS:
        raise InvalidRequest(f"The filter has more than {MAX_COMPARISONS} comparisons.", field="filter")
    return found


def comparisons(found: Filter) -> Iterator[Comparison]:
    if isinstance(found, Comparison):
        yield found
    else:
        for part in found.filters:
            yield from comparisons(part)


def _parse(value: object, place: str, depth: int) -> Filter:
    if depth > MAX_DEPTH:
        raise InvalidRequest(f"The filter is nested more than {MAX_DEPTH} deep.", field=place)
    if not isinstance(value, dict):
        raise InvalidRequest(f"{place} must be an object with a type.", field=place)
    kind = value.get("type")
    if kind in ("and", "or"):
        parts = value.get("filters")
        if not isinstance(parts, list) or not parts:
            raise InvalidRequest(f"{place}.filters must be a list of filters.", field=f"{place}.filters")
        if len(parts) > MAX_COMPARISONS:
            raise InvalidRequest(f"The filter has more than {MAX_COMPARISONS} comparisons.", field=place)
        return Compound(
            every=kind == "and",
            filters=tuple(
                _parse(part, f"{place}.filters[{number}]", depth + 1) for number, part in enumerate(parts)
            ),
        )
    return _comparison(value, place)


def _comparison(value: Mapping[str, object], place: str) -> Comparison:
    kind = value.get("type")
    if not isinstance(kind, str) or kind not in _OPERATORS:
        known = ", ".join([*Operator, "and", "or"])
        raise InvalidRequest(
            f"{place}.type is {str(kind)[:40]!r}: no operator of ours; use {known}.", field=f"{place}.type"
        )
    operator = Operator(kind)
    key = value.get("key")
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise InvalidRequest(
            f"{place}.key must be a field's name: a letter, then letters, digits and . _ - (64 at most).",
            field=f"{place}.key",
        )
    given = value.get("value")
    several = operator in (Operator.IN, Operator.NIN)
    if several != isinstance(given, list):
        words = "a list of values" if several else "one value"
        raise InvalidRequest(f"{place}.value must be {words} for {operator}.", field=f"{place}.value")
    found = given if isinstance(given, list) else [given]
    if not 1 <= len(found) <= MAX_VALUES:
        raise InvalidRequest(f"{place}.value must hold 1 to {MAX_VALUES} values.", field=f"{place}.value")
    values = tuple(_value(item, f"{place}.value") for item in found)
    if operator in ORDERING and not all(_is_number(item) or isinstance(item, str) for item in values):
        raise InvalidRequest(
            f"{place}.value must be a number or a text for {operator}.", field=f"{place}.value"
        )
    return Comparison(key, operator, values)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _value(value: object, place: str) -> Attribute:
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    elif isinstance(value, str) and len(value) <= 1024 and "\x00" not in value:
        return value
    raise InvalidRequest(
        f"{place} must be a text (1,024 characters at most), a finite number, true or false.", field=place
    )
