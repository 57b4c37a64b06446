"""`VectorStore` in PostgreSQL."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import psycopg2
from psycopg2.extensions import cursor as Cursor

from lisa.errors import Conflict, InvalidRequest
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
from lisa.rag.vectors.pgvector import rows, schema, searching, writing
from lisa.rag.vectors.pgvector.connections import Address, Connections
from lisa.rag.vectors.pgvector.schema import name_of, statement


class PgvectorStore:
    writers = 1  # documents share words, and with them rows that two would wait for

    def __init__(self, address: Address) -> None:
        self._connections = Connections(address, schema.migrate)

    def close(self) -> None:
        """Ends the connections that are not in use; the store goes on working and makes new ones."""
        self._connections.close()

    def create(self, index: Index, visibility: Visibility) -> None:
        name = name_of(index)
        with self._connections.transaction() as cursor:
            _alone(cursor, name)
            cursor.execute(statement("SELECT dimensions FROM {indices} WHERE name = %s", name), [name])
            found = cursor.fetchone()
            if found is None:
                cursor.execute(
                    statement(
                        "INSERT INTO {indices} (name, repository_id, collection_id, generation, dimensions, groups,"
                        " owner) VALUES (%s, %s, %s, %s, %s, %s::text[], %s)",
                        name,
                    ),
                    [
                        name,
                        index.repository_id,
                        index.collection_id,
                        index.generation,
                        index.dimensions,
                        list(visibility.groups),
                        visibility.owner,
                    ],
                )
                schema.create_tables(cursor, name, index.dimensions)
            elif found[0] != index.dimensions:
                raise Conflict(
                    f"The collection {index.collection_id!r} holds vectors of {found[0]} dimensions, the embedding "
                    f"model makes {index.dimensions}: index it anew instead."
                )
            else:
                _set_visibility(cursor, name, visibility)

    def set_visibility(self, index: Index, visibility: Visibility) -> None:
        with self._connections.transaction() as cursor:
            if not _set_visibility(cursor, name_of(index), visibility):
                raise writing.unknown(index)

    def drop(self, index: Index) -> None:
        name = name_of(index)
        with self._connections.transaction() as cursor:
            _alone(cursor, name)
            cursor.execute(statement("DELETE FROM {indices} WHERE name = %s", name), [name])
            schema.drop_tables(cursor, name)

    def replace(self, index: Index, document: StoredDocument, chunks: Iterable[EmbeddedChunk]) -> bool:
        try:
            with self._transaction(index) as cursor:
                return writing.replace(cursor, index, document, chunks)
        except psycopg2.errors.UniqueViolation as error:
            raise InvalidRequest(f"The document {document.id!r} has two chunks of one ordinal.") from error

    def retag(self, index: Index, document: StoredDocument) -> bool:
        with self._transaction(index) as cursor:
            return writing.retag(cursor, index, document)

    def remove(self, index: Index, document_id: str, sequencer: str) -> bool:
        with self._transaction(index) as cursor:
            return writing.remove(cursor, index, document_id, sequencer)

    def search(self, index: Index, query: Query, reader: Reader) -> Arms:
        with self._transaction(index, snapshot=True) as cursor:
            return searching.search(cursor, index, query, reader)

    def chunks(self, index: Index, document_id: str, *, after: int = -1, limit: int = 100) -> list[Chunk]:
        with self._transaction(index, snapshot=True) as cursor:
            _require(cursor, index)
            cursor.execute(
                statement(
                    f"SELECT {rows.CHUNK} FROM {{chunks}} AS c WHERE c.document ="
                    " (SELECT key FROM {documents} WHERE id = %s) AND c.ordinal > %s ORDER BY c.ordinal LIMIT %s",
                    name_of(index),
                ),
                [writing.storable(document_id), after, limit],
            )
            return [rows.chunk(row) for row in cursor]

    def size(self, index: Index) -> Size:
        name = name_of(index)
        with self._transaction(index, snapshot=True) as cursor:
            documents, chunks = _require(cursor, index)
            cursor.execute(
                "SELECT coalesce(sum(pg_total_relation_size(oid)), 0) FROM pg_class"
                " WHERE relnamespace = %s::regnamespace AND relname = ANY(%s)",
                [schema.SCHEMA, schema.table_names(name)],
            )
            row = cursor.fetchone()
            return Size(documents, chunks, int(row[0]) if row else 0)

    @contextmanager
    def _transaction(self, index: Index, *, snapshot: bool = False) -> Iterator[Cursor]:
        try:
            with self._connections.transaction(snapshot=snapshot) as cursor:
                yield cursor
        except psycopg2.errors.UndefinedTable as error:
            # It was dropped after the search had begun, or never made.
            raise writing.unknown(index) from error


def _alone(cursor: Cursor, name: str) -> None:
    """Waits until nobody else makes or drops this index."""
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [name])


def _set_visibility(cursor: Cursor, name: str, visibility: Visibility) -> bool:
    cursor.execute(
        statement("UPDATE {indices} SET groups = %s::text[], owner = %s WHERE name = %s", name),
        [list(visibility.groups), visibility.owner, name],
    )
    return cursor.rowcount == 1


def _require(cursor: Cursor, index: Index) -> tuple[int, int]:
    """How many documents and chunks an index has."""
    name = name_of(index)
    cursor.execute(statement("SELECT documents, chunks FROM {indices} WHERE name = %s", name), [name])
    found = cursor.fetchone()
    if found is None:
        raise writing.unknown(index)
    return int(found[0]), int(found[1])
