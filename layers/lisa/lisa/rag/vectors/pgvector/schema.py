"""The tables: one row for each index in `indices`, and five tables of its own for each index.

`<name>_documents` keeps documents, removed ones too (their sequencer is remembered), `<name>_held` which words each
holds; `<name>_chunks` texts and vectors. `<name>_postings` are the posting lists of BM25 in pieces (see `bm25`), and
`<name>_terms` says of each word how many chunks hold it, and what its list is made of. A chunk's number is never used
again, so a posting of a chunk that is gone is known by that, and dropped when pieces are next put together.
"""

import hashlib
from collections.abc import Mapping

from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from lisa.errors import InvalidRequest
from lisa.rag.vectors.base import Index

SCHEMA = "retrieval"
VERSION = 1
# pgvector's index holds half-precision vectors up to this length.
MAX_DIMENSIONS = 4000
# pgvector's own defaults, with which recall is over 0.99 (docs/decisions/0009-pgvector.md).
HNSW_LINKS = 16
HNSW_BUILD = 64
_MIGRATION_LOCK = 0x11_5A_00

_FIRST = """
CREATE TABLE {schema}.indices (
    name text PRIMARY KEY,
    repository_id text NOT NULL,
    collection_id text NOT NULL,
    generation int NOT NULL,
    dimensions int NOT NULL,
    groups text[] NOT NULL,
    owner text NOT NULL,
    documents bigint NOT NULL DEFAULT 0,
    chunks bigint NOT NULL DEFAULT 0,
    words bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50)
"""

# Each brings the schema from the version of its number to the next; what has been released is never changed.
_MIGRATIONS = (_FIRST,)

_INDEX = """
CREATE TABLE {documents} (
    key int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text NOT NULL UNIQUE,
    sequencer text COLLATE "C" NOT NULL,
    removed boolean NOT NULL DEFAULT false,
    chunks int NOT NULL DEFAULT 0,
    name text NOT NULL DEFAULT '',
    source text NOT NULL DEFAULT '',
    owner text NOT NULL DEFAULT '',
    media_type text NOT NULL DEFAULT '',
    uploaded_at bigint NOT NULL DEFAULT 0,
    tags text[] NOT NULL DEFAULT '{{}}',
    attributes jsonb NOT NULL DEFAULT '{{}}'
);
CREATE INDEX ON {documents} USING gin (attributes jsonb_path_ops);
CREATE INDEX ON {documents} USING gin (tags);
CREATE TABLE {held} (
    document int PRIMARY KEY,
    terms bytea NOT NULL
);
CREATE SEQUENCE {numbers} AS int;
CREATE TABLE {chunks} (
    number int PRIMARY KEY,
    document int NOT NULL,
    ordinal int NOT NULL,
    page int,
    first_character int NOT NULL,
    last_character int NOT NULL,
    heading text[] NOT NULL,
    text text NOT NULL,
    length int NOT NULL,
    embedding halfvec({dimensions}) NOT NULL,
    UNIQUE (document, ordinal)
);
ALTER SEQUENCE {numbers} OWNED BY {chunks}.number;
CREATE INDEX ON {chunks} USING hnsw (embedding halfvec_cosine_ops) WITH (m = {links}, ef_construction = {build});
CREATE TABLE {terms} (
    term bigint PRIMARY KEY,
    chunks int NOT NULL CHECK (chunks >= 0),
    entries int NOT NULL,
    pieces int NOT NULL
) WITH (fillfactor = 70);
CREATE TABLE {postings} (
    term bigint NOT NULL,
    entries bytea NOT NULL
);
ALTER TABLE {postings} ALTER COLUMN entries SET STORAGE EXTERNAL;
CREATE INDEX ON {postings} (term)
"""


def name_of(index: Index) -> str:
    """Ids may hold anything and be of any length; a hash of them is a name for a table."""
    ids = "\x00".join((index.repository_id, index.collection_id, str(index.generation)))
    return "x" + hashlib.sha256(ids.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def tables(name: str) -> Mapping[str, sql.Composable]:
    """The tables of an index by the names that statements give them."""
    return {
        "indices": sql.Identifier(SCHEMA, "indices"),
        "numbers": sql.Identifier(SCHEMA, f"{name}_numbers"),
        **dict(zip(_PARTS, (sql.Identifier(SCHEMA, table) for table in table_names(name)), strict=True)),
    }


_PARTS = ("documents", "held", "chunks", "terms", "postings")


def table_names(name: str) -> list[str]:
    return [f"{name}_{part}" for part in _PARTS]


def statement(text: str, name: str, **more: sql.Composable) -> sql.Composed:
    return sql.SQL(text).format(**tables(name), **more)


def migrate(connection: Connection) -> None:
    """Makes the schema, or brings an older one up to date. One process does it, others wait for it."""
    schema = sql.Identifier(SCHEMA)
    connection.set_session(isolation_level="READ COMMITTED", readonly=False)
    with connection, connection.cursor() as cursor:
        if _version(cursor) == VERSION:
            return
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_MIGRATION_LOCK])
        version = _version(cursor)
        if version is None:
            cursor.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", [SCHEMA])
            if cursor.fetchone() is None:
                cursor.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
            cursor.execute(sql.SQL("CREATE TABLE {}.version (version int NOT NULL)").format(schema))
            cursor.execute(sql.SQL("INSERT INTO {}.version VALUES (0)").format(schema))
            version = 0
        for change in _MIGRATIONS[version:]:
            cursor.execute(sql.SQL(change).format(schema=schema))
        # A newer program has been here already: what it made is left to it.
        if version < VERSION:
            cursor.execute(sql.SQL("UPDATE {}.version SET version = %s").format(schema), [VERSION])


def _version(cursor: Cursor) -> int | None:
    # Not to_regclass: it may remember from before we waited for the lock that there was none.
    cursor.execute("SELECT 1 FROM pg_tables WHERE schemaname = %s AND tablename = 'version'", [SCHEMA])
    if cursor.fetchone() is None:
        return None
    cursor.execute(sql.SQL("SELECT version FROM {}.version").format(sql.Identifier(SCHEMA)))
    row = cursor.fetchone()
    return int(row[0]) if row else 0


def create_tables(cursor: Cursor, name: str, dimensions: int) -> None:
    if not 1 <= dimensions <= MAX_DIMENSIONS:
        raise InvalidRequest(
            f"The embedding model's vectors have {dimensions} dimensions; pgvector indexes 1 to {MAX_DIMENSIONS}."
        )
    cursor.execute(
        statement(
            _INDEX,
            name,
            dimensions=sql.Literal(dimensions),
            links=sql.Literal(HNSW_LINKS),
            build=sql.Literal(HNSW_BUILD),
        )
    )


def drop_tables(cursor: Cursor, name: str) -> None:
    names = tables(name)
    cursor.execute(
        sql.SQL("DROP TABLE IF EXISTS {}").format(sql.SQL(", ").join([names[part] for part in _PARTS]))
    )
