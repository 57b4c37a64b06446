"""Filters as queries of one field, `facts`: everything that can be asked of a chunk, as terms of key, type and value.

So no name that people choose becomes a field, a value fits values of its own type only, and a value is never part
of a query's syntax. Terms sort as their values do: numbers are written as their bits, in order.
"""

import struct
from collections.abc import Iterator

from lisa.rag.filters import BUILT_IN, Comparison, Compound, Filter, Operator
from lisa.rag.records import Attribute
from lisa.rag.vectors.base import Chunk, StoredDocument
from lisa.rag.vectors.opensearch.client import Json

_END = "\x1f"  # separates a term's parts; no key of a filter holds it
_BEHIND = "\x20"  # the character after it: behind every value of a key and type
# A filter's value is shorter than this: cut values compare with it as whole ones do.
_LONGEST = 1100


def facts(document: StoredDocument, chunk: Chunk) -> list[str]:
    """The terms of a chunk."""
    return list(dict.fromkeys(_term(key, value) for key, value in _values(document, chunk)))


def compile_filter(found: Filter) -> Json:
    if isinstance(found, Compound):
        parts = [compile_filter(part) for part in found.filters]
        if found.every:
            return {"bool": {"filter": parts}}
        return {"bool": {"should": parts, "minimum_should_match": 1}}
    if found.operator in (Operator.NE, Operator.NIN):
        return {"bool": {"must_not": [_equals(found)]}}
    if found.operator in (Operator.EQ, Operator.IN):
        return _equals(found)
    return _ordered(found)


def _values(document: StoredDocument, chunk: Chunk) -> Iterator[tuple[str, Attribute]]:
    yield "document_id", document.id
    yield "document_name", document.name
    yield "source", document.source
    yield "owner", document.owner
    yield "media_type", document.media_type
    yield "uploaded_at", float(document.uploaded_at)
    if chunk.page is not None:
        yield "page", float(chunk.page)
    for tag in document.tags:
        yield "tags", tag
    for key, value in document.attributes.items():
        if key not in BUILT_IN and _END not in key:
            yield key, value


def _equals(comparison: Comparison) -> Json:
    return {"terms": {"facts": [_term(comparison.key, value) for value in comparison.values]}}


def _ordered(comparison: Comparison) -> Json:
    (value,) = comparison.values
    term = _term(comparison.key, value)
    kind = f"{comparison.key}{_END}{_kind(value)}"
    if comparison.operator in (Operator.GT, Operator.GTE):
        bounds = {str(comparison.operator): term, "lt": kind + _BEHIND}
    else:
        bounds = {str(comparison.operator): term, "gte": kind + _END}
    return {"range": {"facts": bounds}}


def _kind(value: Attribute) -> str:
    if isinstance(value, bool):
        return "b"
    return "s" if isinstance(value, str) else "n"


def _term(key: str, value: Attribute) -> str:
    if isinstance(value, bool):
        text = str(value)
    elif isinstance(value, str):
        text = storable(value)[:_LONGEST]
    else:
        text = _sortable(float(value))
    return f"{storable(key)}{_END}{_kind(value)}{_END}{text}"


def _sortable(value: float) -> str:
    """The number's bits such that greater numbers are greater texts.

    An IEEE number's bits sort as integers do when negative ones are inverted and others get the highest bit.
    """
    (bits,) = struct.unpack(">Q", struct.pack(">d", value + 0.0))
    return f"{bits ^ (0xFFFF_FFFF_FFFF_FFFF if bits >> 63 else 1 << 63):016x}"


def storable(text: str) -> str:
    """Without halves of surrogate pairs, which are no text that could be sent."""
    return text.encode(errors="ignore").decode()
