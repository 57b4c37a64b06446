"""Retrieval's records as values that DynamoDB keeps, and back."""

from decimal import Decimal
from typing import Any, TypeVar

from pydantic import TypeAdapter

Record = TypeVar("Record")


def values(record: object) -> dict[str, Any]:
    """A record's fields by name: enumerations as text, tuples as lists, numbers as DynamoDB takes them."""
    # Without warnings: an attribute that is a whole number is a number (`records.Attribute`), too.
    found: dict[str, Any] = _plain(_adapter_of(type(record)).dump_python(record, mode="json", warnings=False))
    return found


def record(kind: type[Record], item: dict[str, Any]) -> Record:
    """The record that an item holds; what else is in the item is left out, what is missing has its default."""
    found: Record = _adapter_of(kind).validate_python(_numbers(item))
    return found


_adapters: dict[type[Any], TypeAdapter[Any]] = {}


def _adapter_of(kind: type[Any]) -> TypeAdapter[Any]:
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)  # milliseconds: once is enough
    return _adapters[kind]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return Decimal(str(value)) if isinstance(value, float) else value


def _numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _numbers(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_numbers(part) for part in value]
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value
