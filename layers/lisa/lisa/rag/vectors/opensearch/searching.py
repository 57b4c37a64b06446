"""A search: both arms in one round trip, each with the records of the state that it saw.

Every query also finds the records that hide something, before anything else. So an answer says by itself which of
its chunks do not count, whatever is written meanwhile: an answer is of one state of one shard.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from opensearchpy import OpenSearch

from lisa.errors import InvalidRequest, Unavailable
from lisa.rag.vectors.base import Arms, Chunk, Hit, Index, Mode, Query, Reader, StoredDocument
from lisa.rag.vectors.opensearch import client as calls
from lisa.rag.vectors.opensearch import records, schema
from lisa.rag.vectors.opensearch.client import Json
from lisa.rag.vectors.opensearch.filters import compile_filter, storable
from lisa.rag.vectors.opensearch.records import Record, key_of
from lisa.rag.vectors.opensearch.writing import vector_of

CANDIDATES = 150
"""How many neighbours the graph is searched for at least (Lucene's `k`): more find more of the nearest."""
SPARE = 50
"""Records and hidden chunks that an answer has room for, beside what was asked for."""
ATTEMPTS = 12
WORDS = 512  # a query of more clauses than 1,024 is refused
_FIRST = 1e9  # no chunk scores as high
_WINDOW = 10_000  # what OpenSearch answers at most


@dataclass(frozen=True, slots=True)
class Answer:
    """What one query found in one state of the index, best first."""

    chunks: tuple[Json, ...]
    hidden: frozenset[str]
    excluded: frozenset[str]
    cut_off: bool
    records: int

    @property
    def counting(self) -> list[Json]:
        return [hit for hit in self.chunks if hit["_source"]["version"] not in self.hidden]

    def is_complete(self, limit: int) -> bool:
        """Whether these are the best `limit` chunks that count.

        Not when a version was left out that counts by now, or chunks that do not count took others' places.
        """
        return self.excluded <= self.hidden and (len(self.counting) >= limit or not self.cut_off)


class Searcher:
    def __init__(
        self, client: OpenSearch, name: str, index: Index, legacy_scores: Callable[[], bool]
    ) -> None:
        self._client = client
        self._name = name
        self._index = index
        self._legacy_scores = legacy_scores

    def search(self, query: Query, reader: Reader) -> Arms:
        """Empty as well where the index is not there, or not for the reader.

        Raises:
            InvalidRequest: the vector is of another length.
            Missing: there is no index by any of the reader's names.
        """
        arms = self._arms(query)
        limit = min(query.limit, _WINDOW // 2)
        spare = SPARE
        excluded: frozenset[str] = frozenset()
        for _ in range(ATTEMPTS):
            size = min(limit + spare, _WINDOW)
            answers = self._ask(schema.entrances(self._name, reader), arms, size, excluded)
            if all(answer.is_complete(limit) for answer in answers.values()) and _agree(answers.values()):
                return Arms(
                    _hits(answers.get(Mode.DENSE), limit, lambda score: 2 * score - 1),
                    _hits(answers.get(Mode.LEXICAL), limit, self._lexical_score),
                )
            excluded = frozenset(version for answer in answers.values() for version in answer.hidden)
            spare = SPARE + 2 * max(answer.records for answer in answers.values())
        raise Unavailable("The collection changes too fast to be searched. Try again.", retry_after=1)

    def chunks(self, document_id: str, after: int, limit: int, *, vectors: bool = False) -> list[Json]:
        """The hits of the chunks that count, in order; with `vectors` each has `fields.vector`."""
        excluded: frozenset[str] = frozenset()
        for _ in range(ATTEMPTS):
            size = min(2 * limit + 1, _WINDOW)
            body: Json = {
                "size": size,
                "query": {
                    "bool": {
                        "filter": [
                            {"term": {"document": key_of(document_id)}},
                            # The record, whose ordinal is -1, comes first.
                            {
                                "bool": {
                                    "should": [
                                        {"term": {"ordinal": -1}},
                                        {"range": {"ordinal": {"gt": after}}},
                                    ]
                                }
                            },
                        ],
                        "must_not": _versions(excluded),
                    }
                },
                "sort": [{"ordinal": "asc"}],
            }
            if vectors:
                body |= {"script_fields": {"vector": {"script": _VECTOR}}, "_source": True}
            hits = calls.read(lambda body=body: self._client.search(index=schema.door(self._name), body=body))  # type: ignore[misc]
            found = hits["hits"]["hits"]
            record = records.from_source(found[0]["_source"]) if found else Record()
            counting = [hit for hit in found[1:] if hit["_source"]["version"] == record.version]
            if record.version not in excluded and (len(counting) >= limit or len(found) < size):
                return counting[:limit]
            excluded = frozenset(record.hidden)
        raise Unavailable("The document changes too fast to be read. Try again.", retry_after=1)

    def _arms(self, query: Query) -> Mapping[Mode, Callable[[int, frozenset[str]], Json]]:
        """Each arm's query, by the number of hits and the versions that are left out."""
        fits = [compile_filter(query.filter)] if query.filter is not None else []
        arms: dict[Mode, Callable[[int, frozenset[str]], Json]] = {}
        if query.mode is not Mode.LEXICAL:
            if query.vector is None:
                raise InvalidRequest(f"A {query.mode} search needs the query's vector.", field="vector")
            vector = vector_of(self._index, query.vector)
            arms[Mode.DENSE] = lambda size, excluded: _dense(vector, size, fits, excluded)
        if query.mode is not Mode.DENSE:
            words = " ".join(storable(query.text).split()[:WORDS])
            arms[Mode.LEXICAL] = lambda _, excluded: _lexical(words, fits, excluded)
        return arms

    def _ask(
        self,
        entrances: Sequence[str],
        arms: Mapping[Mode, Callable[[int, frozenset[str]], Json]],
        size: int,
        excluded: frozenset[str],
    ) -> dict[Mode, Answer]:
        header = {"index": list(entrances), "ignore_unavailable": True, "allow_no_indices": True}
        lines: list[Json] = []
        for arm in arms.values():
            body = {
                "size": size,
                "track_total_hits": False,
                "query": {"bool": {"should": [_HIDING, arm(size, excluded)], "minimum_should_match": 1}},
            }
            lines += [header, body]
        answers = calls.read(lambda: self._client.msearch(body=lines))["responses"]
        return {mode: _answer(answer, size, excluded) for mode, answer in zip(arms, answers, strict=True)}

    def _lexical_score(self, score: float) -> float:
        return score / (schema.K1 + 1) if self._legacy_scores() else score


# Vectors are in the index alone; records have none.
_VECTOR: Json = {"lang": "painless", "source": "doc['vector'].size() == 0 ? null : doc['vector'].value"}
_HIDING: Json = {"constant_score": {"filter": {"exists": {"field": "hidden"}}, "boost": _FIRST}}


def _dense(vector: list[float], size: int, fits: list[Json], excluded: frozenset[str]) -> Json:
    nearest: Json = {"vector": vector, "k": max(size, CANDIDATES)}
    if fits or excluded:
        nearest["filter"] = {"bool": {"filter": fits, "must_not": _versions(excluded)}}
    return {"knn": {"vector": nearest}}


def _lexical(words: str, fits: list[Json], excluded: frozenset[str]) -> Json:
    match = {"match": {"content": {"query": words}}}
    if not fits and not excluded:
        return match
    return {"bool": {"must": [match], "filter": fits, "must_not": _versions(excluded)}}


def _versions(excluded: frozenset[str]) -> list[Json]:
    return [{"terms": {"version": sorted(excluded)}}] if excluded else []


def _answer(answer: Json, size: int, excluded: frozenset[str]) -> Answer:
    if "error" in answer:
        raise calls.refusal(answer["status"], answer)
    shards = answer["_shards"]
    if shards["total"] == 0:
        raise calls.Missing("The reader has no way into the index.")
    if shards["failed"] or answer.get("timed_out"):
        raise Unavailable("A part of OpenSearch does not answer. Try again later.", retry_after=10)
    hits = answer["hits"]["hits"]
    chunks = tuple(hit for hit in hits if not records.is_record(hit["_source"]))
    hidden = [
        version
        for hit in hits
        if records.is_record(hit["_source"])
        for version in records.from_source(hit["_source"]).hidden
    ]
    return Answer(chunks, frozenset(hidden), excluded, len(hits) == size, len(hits) - len(chunks))


def _agree(answers: Collection[Answer]) -> bool:
    """Whether the arms, which are asked at once but not of one state, saw the same version of each document."""
    seen: dict[str, str] = {}
    return all(
        seen.setdefault(hit["_source"]["document"], hit["_source"]["version"]) == hit["_source"]["version"]
        for answer in answers
        for hit in answer.counting
    )


def _hits(answer: Answer | None, limit: int, scale: Callable[[float], float]) -> tuple[Hit, ...]:
    if answer is None:
        return ()
    return tuple(
        Hit(document_of(hit["_source"]), chunk_of(hit["_source"]), scale(float(hit["_score"])))
        for hit in answer.counting[:limit]
    )


def chunk_of(source: Json) -> Chunk:
    found = source["chunk"]
    return Chunk(
        ordinal=source["ordinal"],
        text=found["text"],
        start=found["start"],
        end=found["end"],
        heading=tuple(found["heading"]),
        page=found["page"],
    )


def document_of(source: Json) -> StoredDocument:
    found = source["of"]
    return StoredDocument(**{**found, "tags": tuple(found["tags"])})
