"""Which fields a filter may ask for: what every document has, and the attributes of the collection's documents."""

from collections.abc import Collection

from lisa.errors import InvalidRequest
from lisa.rag import filters
from lisa.rag.filters import BUILT_IN, Filter

_SHOWN = 30


def parse_filter(value: object, attributes: Collection[str]) -> Filter:
    """Raises InvalidRequest naming an unknown operator or field; `attributes` are those seen in the collection."""
    found = filters.parse(value)
    for comparison in filters.comparisons(found):
        if comparison.key not in BUILT_IN and comparison.key not in attributes:
            own = ", ".join(sorted(attributes)[:_SHOWN])
            raise InvalidRequest(
                f"No document of this collection has a field {comparison.key!r}: filter by {', '.join(BUILT_IN)}"
                + (f", or by one of its own: {own}." if own else "."),
                code="unknown_field",
                field="filter",
            )
    return found
