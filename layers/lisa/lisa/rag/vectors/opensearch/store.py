"""`VectorStore` in OpenSearch."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from threading import Lock
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import RequestError

from lisa.errors import Conflict, NotFound, Unavailable
from lisa.rag.vectors.base import (
    Arms,
    Chunk,
    EmbeddedChunk,
    Index,
    Query,
    Reader,
    Size,
    StoredDocument,
    Visibility,
)
from lisa.rag.vectors.opensearch import client as calls
from lisa.rag.vectors.opensearch import schema
from lisa.rag.vectors.opensearch.client import Address
from lisa.rag.vectors.opensearch.schema import door, name_of
from lisa.rag.vectors.opensearch.searching import Searcher, chunk_of
from lisa.rag.vectors.opensearch.writing import Writer

_PAGE = 200


class OpenSearchStore:
    writers = 8  # each waits for a refresh, which is as dear for many as for one

    def __init__(self, address: Address) -> None:
        self.address = address
        self._connected: OpenSearch | None = None
        self._connecting = Lock()

    @property
    def client(self) -> OpenSearch:
        with self._connecting:  # one for all threads
            if self._connected is None:
                self._connected = calls.connect(self.address)
            return self._connected

    def close(self) -> None:
        """Ends the connections; the store goes on working and makes new ones."""
        with self._connecting:
            connected, self._connected = self._connected, None
        if connected is not None:
            connected.close()

    def create(self, index: Index, visibility: Visibility) -> None:
        name = name_of(self.address, index)
        body = schema.body(self.address, index, visibility)
        try:
            calls.write(lambda: self._create(name, body))
        except calls.Conflicting:
            self._require_dimensions(name, index)
            self.set_visibility(index, visibility)

    def set_visibility(self, index: Index, visibility: Visibility) -> None:
        name = name_of(self.address, index)
        with _naming(index):
            actions = list(schema.visibility_actions(name, visibility))
            calls.write(lambda: self.client.indices.update_aliases(body={"actions": actions}))

    def drop(self, index: Index) -> None:
        name = name_of(self.address, index)
        calls.write(lambda: self.client.indices.delete(index=name, params={"ignore_unavailable": "true"}))

    def replace(self, index: Index, document: StoredDocument, chunks: Iterable[EmbeddedChunk]) -> bool:
        with _naming(index):
            return self._writer(index, document.id).replace(document, chunks)

    def retag(self, index: Index, document: StoredDocument) -> bool:
        """Writes the chunks again, so that what is filtered by changes for all of them at once."""
        with _naming(index):
            writer = self._writer(index, document.id)
            record, _ = writer.load()
            if not record.version or record.sequencer > document.sequencer:
                return False
            # What broke off before its refresh is to be copied as well.
            writer.refresh()
            chunks = self._stored(index, document.id, record.count)
            return writer.replace(document, chunks, copied=record.version)

    def remove(self, index: Index, document_id: str, sequencer: str) -> bool:
        with _naming(index):
            return self._writer(index, document_id).remove(sequencer)

    def search(self, index: Index, query: Query, reader: Reader) -> Arms:
        with _naming(index):
            try:
                return self._searcher(index).search(query, reader)
            except calls.Missing:
                if self._exists(index):
                    return Arms()
                raise

    def chunks(self, index: Index, document_id: str, *, after: int = -1, limit: int = 100) -> list[Chunk]:
        with _naming(index):
            return [
                chunk_of(hit["_source"]) for hit in self._searcher(index).chunks(document_id, after, limit)
            ]

    def size(self, index: Index) -> Size:
        name = door(name_of(self.address, index))
        body = {
            "size": 0,
            "track_total_hits": True,
            "query": {"term": {"live": True}},
            "aggs": {"chunks": {"sum": {"field": "count"}}},
        }
        with _naming(index):
            found = calls.read(lambda: self.client.search(index=name, body=body))
            stats = calls.read(lambda: self.client.indices.stats(index=name, metric="store"))
        return Size(
            documents=found["hits"]["total"]["value"],
            chunks=int(found["aggregations"]["chunks"]["value"]),
            bytes=stats["_all"]["primaries"]["store"]["size_in_bytes"],
        )

    def _writer(self, index: Index, document_id: str) -> Writer:
        return Writer(self.client, name_of(self.address, index), index, document_id)

    def _searcher(self, index: Index) -> Searcher:
        return Searcher(self.client, name_of(self.address, index), index, lambda: self._legacy_scores)

    @cached_property
    def _legacy_scores(self) -> bool:
        """Until version 3 BM25 came with a constant factor of k1 + 1."""
        version = calls.read(self.client.info)["version"]["number"]
        return int(version.split(".")[0]) < 3

    def _create(self, name: str, body: calls.Json) -> None:
        try:
            self.client.indices.create(index=name, body=body)
        except RequestError as error:
            if error.error == "resource_already_exists_exception":
                raise calls.Conflicting(str(error)) from error
            raise

    def _require_dimensions(self, name: str, index: Index) -> None:
        mapping: dict[str, Any] = calls.read(lambda: self.client.indices.get_mapping(index=name))
        found = mapping[name]["mappings"]["properties"]["vector"]["dimension"]
        if found != index.dimensions:
            raise Conflict(
                f"The collection {index.collection_id!r} holds vectors of {found} dimensions, the embedding "
                f"model makes {index.dimensions}: index it anew instead."
            )

    def _exists(self, index: Index) -> bool:
        name = name_of(self.address, index)
        return bool(calls.read(lambda: self.client.indices.exists(index=name)))

    def _stored(self, index: Index, document_id: str, count: int) -> Iterator[EmbeddedChunk]:
        """The chunks that count, with their vectors."""
        searcher = self._searcher(index)
        after, found = -1, 0
        while hits := searcher.chunks(document_id, after, _PAGE, vectors=True):
            for hit in hits:
                yield EmbeddedChunk(chunk_of(hit["_source"]), hit["fields"]["vector"][0])
            found += len(hits)
            after = hits[-1]["_source"]["ordinal"]
        if found != count:
            raise Unavailable("The document was changed meanwhile. Try again.", retry_after=1)


@contextmanager
def _naming(index: Index) -> Iterator[None]:
    try:
        yield
    except calls.Missing as error:
        raise NotFound(
            f"The collection {index.collection_id!r} of the repository {index.repository_id!r} has no index "
            f"of generation {index.generation}."
        ) from error
