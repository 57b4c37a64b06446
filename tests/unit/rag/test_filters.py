"""The filter language: what it takes, and that everything else is refused by name."""

from typing import Any

import pytest
from lisa.errors import InvalidRequest
from lisa.rag.filters import Comparison, Compound, Operator, comparisons, parse

YEAR = {"type": "gte", "key": "year", "value": 2020}


def test_a_comparison() -> None:
    assert parse(YEAR) == Comparison("year", Operator.GTE, (2020.0,))


def test_a_compound_of_compounds() -> None:
    found = parse({"type": "and", "filters": [YEAR, {"type": "or", "filters": [YEAR, YEAR]}]})
    assert isinstance(found, Compound)
    assert found.every
    assert len(list(comparisons(found))) == 3


def test_truth_is_no_number() -> None:
    assert parse({"type": "eq", "key": "final", "value": True}) == Comparison("final", Operator.EQ, (True,))


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        (None, "filter"),
        ([YEAR], "filter"),
        ({"key": "year", "value": 1}, "filter.type"),
        ({"type": ["eq"], "key": "year", "value": 1}, "filter.type"),
        ({"type": "like", "key": "year", "value": 1}, "filter.type"),
        ({"type": "eq", "key": "year'; DROP TABLE", "value": 1}, "filter.key"),
        ({"type": "eq", "key": "", "value": 1}, "filter.key"),
        ({"type": "eq", "key": "year"}, "filter.value"),
        ({"type": "eq", "key": "year", "value": [1]}, "filter.value"),
        ({"type": "in", "key": "year", "value": 1}, "filter.value"),
        ({"type": "in", "key": "year", "value": []}, "filter.value"),
        ({"type": "in", "key": "year", "value": list(range(257))}, "filter.value"),
        ({"type": "gt", "key": "final", "value": True}, "filter.value"),
        ({"type": "eq", "key": "year", "value": float("nan")}, "filter.value"),
        ({"type": "eq", "key": "year", "value": 10**400}, "filter.value"),
        ({"type": "eq", "key": "name", "value": "a\x00b"}, "filter.value"),
        ({"type": "eq", "key": "name", "value": "a" * 1025}, "filter.value"),
        ({"type": "and", "filters": []}, "filter.filters"),
        ({"type": "or", "filters": [YEAR, {"type": "x"}]}, "filter.filters[1].type"),
        ({"type": "or", "filters": [YEAR] * 65}, "filter"),
    ],
)
def test_what_is_wrong_is_named(wrong: Any, place: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse(wrong)
    assert refused.value.field == place


def test_depth_is_bounded() -> None:
    nested: dict[str, Any] = YEAR
    for _ in range(8):
        nested = {"type": "and", "filters": [nested]}
    with pytest.raises(InvalidRequest, match="nested"):
        parse(nested)
