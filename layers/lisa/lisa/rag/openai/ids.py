"""Ids of OpenAI's interface, and what they stand for.

A vector store is a collection: `vs_<repository>.<collection>`, the collection percent-encoded. A file is an upload
(`file-<32 hexadecimal digits>`), or a document that came by another way, whose own id it then carries.
"""

import re
import secrets
import uuid
from urllib.parse import quote, unquote

from lisa.errors import NotFound

_STORE = "vs_"
_FILE = re.compile(r"file-[0-9a-f]{32}")
_BATCH = re.compile(r"vsfb_[0-9a-f]{32}")
MAX_ID = 512


def vector_store_id(repository_id: str, collection_id: str) -> str:
    return f"{_STORE}{repository_id}.{quote(collection_id, safe='')}"


def collection_of(store_id: str) -> tuple[str, str]:
    """Repository and collection that an id stands for; raises NotFound for what is no such id."""
    repository, dot, collection = store_id.removeprefix(_STORE).partition(".")
    if (
        not store_id.startswith(_STORE)
        or not repository
        or not dot
        or not collection
        or len(store_id) > MAX_ID
    ):
        raise no_vector_store(store_id)
    return repository, unquote(collection)


def new_file_id() -> str:
    return f"file-{secrets.token_hex(16)}"


def new_batch_id() -> str:
    return f"vsfb_{secrets.token_hex(16)}"


def is_file_id(value: str) -> bool:
    return _FILE.fullmatch(value) is not None


def is_batch_id(value: str) -> bool:
    return _BATCH.fullmatch(value) is not None


def file_id_of_document(document_id: str) -> str:
    """The id as a file of a document that nobody has uploaded by `/v1/files`."""
    return f"file-{uuid.UUID(document_id).hex}"


def document_of_file_id(file_id: str) -> str:
    """The other way."""
    return str(uuid.UUID(file_id.removeprefix("file-")))


def no_vector_store(store_id: str) -> NotFound:
    return NotFound(
        f"There is no vector store {store_id[:100]!r}, or not for you.",
        code="vector_store_not_found",
        field="vector_store_id",
    )


def no_file(file_id: str) -> NotFound:
    return NotFound(
        f"There is no file {file_id[:100]!r}, or not for you.", code="file_not_found", field="file_id"
    )


def no_batch(batch_id: str) -> NotFound:
    return NotFound(
        f"There is no file batch {batch_id[:100]!r} in this vector store.", code="batch_not_found"
    )
