"""Searches over several vector stores, and a document's text put together from its chunks."""

import asyncio
import json

from lisa.identity import Principal
from lisa.rag.openai.ids import vector_store_id
from lisa_gateway.retrieval import searching
from lisa_gateway.retrieval.functions import Functions
from lisa_gateway.retrieval.searching import Search, Searcher

from tests.unit.gateway.passages import HANDBOOK_FILE, MENU, MENU_FILE, STORE, TEAM_STORE, hit

ALICE = Principal("alice", frozenset({"team-a"}), False, 0)
TEXT = "".join(f"sentence number {n}. " for n in range(600))


class Chunked:
    """A document of overlapping chunks."""

    def __init__(self, size: int, overlap: int) -> None:
        starts = range(0, len(TEXT), size - overlap)
        self.chunks = [
            {"ordinal": n, "text": TEXT[at : at + size], "start": at, "end": min(at + size, len(TEXT))}
            for n, at in enumerate(starts)
        ]

    def invoke(self, function: str, event: bytes) -> bytes:
        call = json.loads(event)
        wanted = [each for each in self.chunks if each["ordinal"] > call["after"]][: call["limit"]]
        return json.dumps({"status": 200, "body": {"chunks": wanted}}).encode()


class Shelves:
    """Two stores with what each search finds in them."""

    def __init__(self, found: dict) -> None:
        self.found = found

    def invoke(self, function: str, event: bytes) -> bytes:
        hits = self.found[json.loads(event)["collectionId"]]
        return json.dumps({"status": 200, "body": {"hits": hits}}).encode()


def searcher(invoker: object) -> Searcher:
    return Searcher(Functions(lambda: invoker, vector_stores="v", search="s"))  # type: ignore[arg-type, return-value]


def test_a_text_comes_whole_without_what_chunks_share():
    for size, overlap in ((100, 0), (100, 30), (50, 20), (20_000, 0)):
        pieces, after = asyncio.run(searcher(Chunked(size, overlap)).text(ALICE, {}, -1))
        assert "".join(pieces) == TEXT
        assert after is None


def test_a_long_text_comes_in_pages(monkeypatch):
    monkeypatch.setattr(searching, "MAX_TEXT_BYTES", 5000)
    found, after, pages = "", -1, 0
    while after is not None:
        pieces, after = asyncio.run(searcher(Chunked(50, 0)).text(ALICE, {}, after))
        found += "".join(pieces)
        pages += 1
    assert (found, pages) == (TEXT, 3)


def test_the_best_of_several_stores_and_queries_come_first_and_once():
    shelves = Shelves(
        {
            "c-1": [hit("a", score=0.9), hit("b", score=0.2)],
            "for-team-b": [hit("c", document=MENU, score=0.5), hit("a", score=0.8)],
        }
    )
    search = Search((STORE, TEAM_STORE), ("one", "two"), limit=3)
    found = asyncio.run(searcher(shelves).search(ALICE, search))
    assert [(each.file_id, each.text, each.score) for each in found] == [
        (HANDBOOK_FILE, "a", 0.9),
        (MENU_FILE, "c", 0.5),
        (HANDBOOK_FILE, "b", 0.2),
    ]


def test_a_collections_id_may_hold_anything():
    for collection in ("all-minilm-l6-v2", "org/model:7b", "ü.ö%2F"):
        assert searching.collection_of(vector_store_id("default", collection)) == ("default", collection)
