"""Filters mean the same in every store, for every operator and type, and hostile values stay values."""

from __future__ import annotations

import pytest
from lisa.rag import filters
from lisa.rag.vectors.base import Index, Mode, Query, VectorStore

from tests.unit.rag.vectors.corpus import ANYBODY, chunks, document, ids, vector

HOSTILE = [
    "'; DROP TABLE retrieval.indices; --",
    '" OR 1=1 --',
    "%s %(name)s {} {documents} \\",
    '{"match_all": {}}',
    "* OR _exists_:owner",
    "$1; SELECT pg_sleep(9)",
    "\\'); DELETE FROM x; --",
    "text\nwith\tcontrols \x01\x7f",
    "\u202eright to left\ufeff",
    "naïve ✓ 数据 😀",
    "",
    " ",
    "null",
    "NaN",
]


def found(store: VectorStore, index: Index, wanted: object) -> set[str]:
    """What both arms find; they must agree."""
    query = Query(Mode.HYBRID, 50, "apple", vector(0), filters.parse(wanted))
    arms = store.search(index, query, ANYBODY)
    dense, lexical = ({hit.document.id for hit in arm} for arm in (arms.dense, arms.lexical))
    assert dense == lexical
    return dense


ALL = {"y2019", "y2020", "y2021", "text", "yes", "none"}


@pytest.mark.parametrize(
    ("operator", "value", "expected"),
    [
        ("eq", 2020, {"y2020"}),
        ("eq", 2020.0, {"y2020"}),
        ("eq", "2020", {"text"}),
        ("eq", True, {"yes"}),
        ("eq", False, set()),
        ("eq", 1, set()),
        ("ne", 2020, ALL - {"y2020"}),
        ("ne", "2020", ALL - {"text"}),
        ("ne", True, ALL - {"yes"}),
        ("gt", 2020, {"y2021"}),
        ("gte", 2020, {"y2020", "y2021"}),
        ("lt", 2020, {"y2019"}),
        ("lte", 2020, {"y2019", "y2020"}),
        ("gt", "2", {"text"}),
        ("lt", "a", {"text"}),
        ("lte", "2020", {"text"}),
        ("gt", "2020", set()),
        ("in", [2019, 2021.5, "2020"], {"y2019", "y2021", "text"}),
        ("in", [False], set()),
        ("nin", [2019, "2020", True], {"y2020", "y2021", "none"}),
    ],
)
def test_operators_on_attributes(
    store: VectorStore, years: Index, operator: str, value: object, expected: set[str]
) -> None:
    assert found(store, years, {"type": operator, "key": "year", "value": value}) == expected


@pytest.mark.parametrize(
    ("key", "operator", "value", "expected"),
    [
        ("document_id", "eq", "text", {"text"}),
        ("document_id", "in", ["text", "yes", "unknown"], {"text", "yes"}),
        ("document_name", "eq", "alpha.txt", {"y2019"}),
        ("document_name", "lt", "b", {"y2019"}),
        ("source", "eq", "s3://bucket/none.txt", {"none"}),
        ("owner", "eq", "bob", {"y2020"}),
        ("owner", "ne", "bob", ALL - {"y2020"}),
        ("media_type", "eq", "application/pdf", {"y2021"}),
        ("uploaded_at", "gte", 4000, {"text", "yes", "none"}),
        ("uploaded_at", "eq", 1000, {"y2019"}),
        ("uploaded_at", "eq", "1000", set()),
        ("uploaded_at", "ne", "1000", ALL),
        ("owner", "eq", 5, set()),
        ("owner", "ne", True, ALL),
        ("page", "eq", 2, ALL),
        ("page", "gt", 2, set()),
        ("page", "ne", "2", ALL),
        ("tags", "eq", "red", {"y2019", "y2020"}),
        ("tags", "ne", "red", ALL - {"y2019", "y2020"}),
        ("tags", "in", ["blue", "green"], {"y2020", "text"}),
        ("tags", "nin", ["blue", "green"], ALL - {"y2020", "text"}),
        ("tags", "eq", "re", set()),
        ("tags", "eq", 1, set()),
        ("unknown", "eq", "x", set()),
        ("unknown", "ne", "x", ALL),
    ],
)
def test_operators_on_what_every_document_has(
    store: VectorStore, years: Index, key: str, operator: str, value: object, expected: set[str]
) -> None:
    assert found(store, years, {"type": operator, "key": key, "value": value}) == expected


def test_a_page_chooses_chunks_and_not_documents(store: VectorStore, index: Index) -> None:
    store.replace(index, document(), chunks("apple one", "apple two", "apple three"))
    query = Query(
        Mode.HYBRID, 9, "apple", vector(0), filters.parse({"type": "gte", "key": "page", "value": 2})
    )
    arms = store.search(index, query, ANYBODY)
    assert {hit.chunk.page for hit in (*arms.dense, *arms.lexical)} == {2, 3}
    assert len(arms.dense) == len(arms.lexical) == 2


def test_and_or_and_nesting(store: VectorStore, years: Index) -> None:

    def eq(key: str, value: object) -> dict[str, object]:
        return {"type": "eq", "key": key, "value": value}

    def both(*parts: object) -> dict[str, object]:
        return {"type": "and", "filters": list(parts)}

    def either(*parts: object) -> dict[str, object]:
        return {"type": "or", "filters": list(parts)}

    assert found(store, years, both(eq("tags", "red"), eq("year", 2019))) == {"y2019"}
    assert found(store, years, either(eq("year", "2020"), eq("year", True))) == {"text", "yes"}
    assert found(store, years, both(eq("year", 2019), eq("year", 2020))) == set()
    nested = both(
        either(eq("tags", "red"), eq("tags", "green")), either(eq("owner", "bob"), eq("year", "2020"))
    )
    assert found(store, years, nested) == {"y2020", "text"}


@pytest.mark.parametrize("value", HOSTILE)
def test_a_hostile_value_is_a_value_like_any_other(store: VectorStore, index: Index, value: str) -> None:
    other = "something else"
    store.replace(
        index, document("it", attributes={"field": value}, tags=(value,), name=value), chunks("apple")
    )
    store.replace(
        index, document("other", attributes={"field": other}, tags=(other,), name=other), chunks("apple")
    )
    assert store.size(index).documents == 2
    for key in ("field", "tags", "document_name"):
        assert found(store, index, {"type": "eq", "key": key, "value": value}) == {"it"}
        assert found(store, index, {"type": "in", "key": key, "value": [value, "x"]}) == {"it"}
        assert found(store, index, {"type": "ne", "key": key, "value": value}) == {"other"}


@pytest.mark.parametrize("key", ["a.b", "a-b", "_x", "d.removed", "select", "c.page", "order", "a" * 64])
def test_names_of_fields_are_names_whatever_they_mean_to_a_store(
    store: VectorStore, index: Index, key: str
) -> None:
    store.replace(index, document("it", attributes={key: 5.0}), chunks("apple"))
    store.replace(index, document("other"), chunks("apple"))
    assert found(store, index, {"type": "eq", "key": key, "value": 5}) == {"it"}
    assert found(store, index, {"type": "gte", "key": key, "value": 5}) == {"it"}
    assert found(store, index, {"type": "ne", "key": key, "value": 5}) == {"other"}


def test_half_a_surrogate_pair_equals_nothing(store: VectorStore, index: Index) -> None:
    store.replace(index, document("it", attributes={"field": "a"}), chunks("apple"))
    for key in ("field", "owner", "tags"):
        assert found(store, index, {"type": "eq", "key": key, "value": "\ud800"}) == set()
        assert found(store, index, {"type": "nin", "key": key, "value": ["\udfff", "a"]}) <= {"it"}


@pytest.mark.parametrize("number", [0, -0.0, -1.5, 1e15, 1e300, 5e-324, 0.1, 2**53])
def test_numbers_of_every_size_are_compared(store: VectorStore, index: Index, number: float) -> None:
    store.replace(index, document("it", attributes={"n": float(number)}), chunks("apple"))
    assert found(store, index, {"type": "eq", "key": "n", "value": number}) == {"it"}
    assert found(store, index, {"type": "gte", "key": "n", "value": number}) == {"it"}
    assert found(store, index, {"type": "gt", "key": "n", "value": number}) == set()


def test_the_largest_filter_is_answered(store: VectorStore, years: Index) -> None:
    parts = [{"type": "in", "key": "year", "value": [*range(200), 2019]} for _ in range(20)]
    parts += [{"type": "ne", "key": f"k{number}", "value": "x"} for number in range(44)]
    assert found(store, years, {"type": "and", "filters": parts}) == {"y2019"}


@pytest.mark.parametrize("share", [1, 10, 50])
def test_a_filter_leaves_as_many_hits_as_were_asked_for(store: VectorStore, many: Index, share: int) -> None:
    wanted = filters.parse({"type": "lt", "key": "percent", "value": share})
    arms = store.search(many, Query(Mode.HYBRID, 20, "common", vector(40), wanted), ANYBODY)
    assert len(arms.dense) == len(arms.lexical) == 20
    assert all(float(hit.document.attributes["percent"]) < share for hit in (*arms.dense, *arms.lexical))
    assert ids(arms)
