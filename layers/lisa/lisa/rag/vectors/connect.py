"""Which store a repository's chunks lie in, and signing in to it. Stores are kept for the life of a process.

A function calls `close_stores` at the end of its batch: a database that nobody is connected to goes to sleep.
"""

import json
import os
from collections.abc import Callable
from functools import partial
from threading import Lock

import boto3

from lisa import aws
from lisa.errors import InvalidRequest
from lisa.rag.records import Connection, Repository, StoreType
from lisa.rag.vectors.base import VectorStore
from lisa.settings import Settings

ON_ONE_MACHINE = 3
"""Seconds in which a database on the same machine takes a connection, if it runs."""

_stores: dict[object, VectorStore] = {}
_lock = Lock()


def open_store(repository: Repository, settings: Settings) -> VectorStore:
    """The repository's own store, or the deployment's of its type.

    Raises:
        InvalidRequest: the deployment has no store of that type.
    """
    found = _connection(repository, settings)
    known = (repository.type, found)
    with _lock:
        store = _stores.get(known)
        if store is None:
            store = _stores[known] = _open(repository.type, found, settings)
    return store


def close_stores() -> None:
    with _lock:
        stores = list(_stores.values())
    for store in stores:
        close = getattr(store, "close", None)
        if close is not None:
            close()


def _connection(repository: Repository, settings: Settings) -> Connection:
    if repository.connection.endpoint:
        return repository.connection
    if repository.type is StoreType.OPENSEARCH:
        found = Connection(settings.opensearch_url, secret_id=settings.opensearch_secret)
        mend = "set OpenSearchStore (on one machine: make up OPENSEARCH=1)"
    else:
        found = Connection(
            settings.pgvector_host,
            settings.pgvector_port,
            settings.pgvector_database,
            settings.pgvector_user,
            settings.pgvector_secret,
        )
        mend = "set PgvectorStore"
    if not found.endpoint:
        raise InvalidRequest(
            f"This deployment has no store of the type {repository.type}: give the repository a connection to one, "
            f"or ask an administrator to {mend} and deploy again.",
            field="type",
        )
    return found


def _open(kind: StoreType, connection: Connection, settings: Settings) -> VectorStore:
    return (
        _opensearch(connection, settings) if kind is StoreType.OPENSEARCH else _pgvector(connection, settings)
    )


def _opensearch(connection: Connection, settings: Settings) -> VectorStore:
    # Its drivers are only in the functions that need them.
    from lisa.rag.vectors.opensearch import Address, OpenSearchStore

    endpoint = connection.endpoint
    url = endpoint if "://" in endpoint else f"https://{endpoint}:{connection.port or 443}"
    signs = not connection.secret_id and settings.stage != "local"
    return OpenSearchStore(
        Address(
            url=url.rstrip("/"),
            region=os.environ.get("AWS_REGION", "") if signs else "",
            credentials=partial(_user, connection.secret_id) if connection.secret_id else None,
            engine=settings.opensearch_engine,
            prefix=settings.deployment,
        )
    )


def _user(secret_id: str) -> tuple[str, str]:
    found = json.loads(aws.secrets_manager().get_secret_value(SecretId=secret_id)["SecretString"])
    return str(found["username"]), str(found["password"])


def _pgvector(connection: Connection, settings: Settings) -> VectorStore:
    from lisa.rag.vectors.pgvector import Address, PgvectorStore

    is_local = settings.stage == "local"
    return PgvectorStore(
        Address(
            host=connection.endpoint,
            port=connection.port or 5432,
            database=connection.database or "lisa",
            user=connection.username,
            password=_password(connection),
            encrypted=not is_local,
            seconds=ON_ONE_MACHINE if is_local else settings.pgvector_connect_seconds,
            tries=settings.pgvector_connect_tries,
        )
    )


def _password(connection: Connection) -> Callable[[], str]:
    if connection.secret_id:
        return partial(secret_password, connection.secret_id)
    return partial(_token, connection)


def secret_password(secret_id: str) -> str:
    """Read each time somebody signs in, which is seldom: it may have been rotated."""
    content = aws.secrets_manager().get_secret_value(SecretId=secret_id)["SecretString"]
    try:
        found = json.loads(content)
    except ValueError:
        return content
    return str(found["password"]) if isinstance(found, dict) and "password" in found else content


def _token(connection: Connection) -> str:
    """A token of IAM database authentication, good for 15 minutes; made without a call."""
    rds = boto3.client("rds", region_name=os.environ.get("AWS_REGION"))
    return str(
        rds.generate_db_auth_token(
            DBHostname=connection.endpoint, Port=connection.port or 5432, DBUsername=connection.username
        )
    )
