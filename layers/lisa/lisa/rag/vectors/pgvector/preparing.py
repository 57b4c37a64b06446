"""What a new database needs before retrieval's own user can work in it, done by its owner at every deployment."""

from functools import partial

from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from lisa.rag.vectors.pgvector.connections import Address, Connections
from lisa.rag.vectors.pgvector.schema import SCHEMA, migrate


def prepare(owner: Address, user: str) -> None:
    """The extension, up to date; a user who owns one schema and signs in with IAM; the tables of this version.

    May be done again at any time. Raises Unavailable when the database is away.
    """
    connections = Connections(owner, partial(_prepare, user))
    try:
        with connections.transaction():
            pass  # signing in for the first time is what does it
    finally:
        connections.close()


def _prepare(user: str, connection: Connection) -> None:
    name = sql.Identifier(user)
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION IF NOT EXISTS vector")
        cursor.execute("ALTER EXTENSION vector UPDATE")
        if not _is_role(cursor, user):
            cursor.execute(sql.SQL("CREATE ROLE {} LOGIN").format(name))
        if _is_role(cursor, "rds_iam"):
            cursor.execute(sql.SQL("GRANT rds_iam TO {}").format(name))
        # The owner of Aurora is no superuser: it may do on another's behalf only what it is a member of.
        cursor.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(name))
        cursor.execute(
            sql.SQL("CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {}").format(sql.Identifier(SCHEMA), name)
        )
        cursor.execute(sql.SQL("SET SESSION ROLE {}").format(name))
    migrate(connection)
    with connection, connection.cursor() as cursor:
        cursor.execute("RESET ROLE")


def _is_role(cursor: Cursor, name: str) -> bool:
    cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name])
    return cursor.fetchone() is not None
