"""What lies where in the documents table.

| pk, sk | what | in by-place under | in by-owner under |
| --- | --- | --- | --- |
| `DOC#<document>`, `OBJECT` | its object's state | `TAKEN#<n>` until settled | `OBJECTS#<repository>#<collection>` |
| `DOC#<document>`, `DOCUMENT` | the document that is searched | `DOCS#<repository>#<collection>` | `DOCS#<owner>` |
| `JOB#<job>`, `JOB` | a job | `JOBS#<repository>` | `JOBS#<repository>#<owner>`, or `UNPLACED` |
| `COUNT#<repository>#<collection>`, `COUNT` | how many documents, chunks and bytes it has | | |
| `FIELDS#<repository>#<collection>`, `FIELDS` | attributes that were seen, with their types | | |
| `SLOT`, number | a long execution that runs | | |
| `REINDEX#<repository>#<collection>`, `REINDEX` | what a collection's next generation is made with | | |

`at` is a time in epoch milliseconds, thirteen digits, and an id that tells apart what was of the same moment.
"""

import zlib
from collections.abc import Mapping
from typing import Any

from lisa import dynamo
from lisa.rag.records import Document, Job
from lisa.rag.rows import record, values

# What is not settled is spread over so many partitions of the index.
TAKEN_PARTITIONS = 4
# How long a job can be looked at, in seconds after it was made.
JOB_SECONDS = 90 * 86_400
# How long a removed object is remembered, so that an event that comes late does not bring it back. Seconds.
TOMBSTONE_SECONDS = 30 * 86_400
UNPLACED = "UNPLACED"
# The table's indexes, with the names of their partition keys.
BY_PLACE, BY_OWNER = ("by-place", "place"), ("by-owner", "ownedBy")


def at(milliseconds: int, identity: str) -> str:
    return f"{milliseconds:013d}#{identity}"


def document_key(document_id: str) -> dict[str, Any]:
    return dynamo.key(f"DOC#{document_id}", "DOCUMENT")


def object_key(document_id: str) -> dict[str, Any]:
    return dynamo.key(f"DOC#{document_id}", "OBJECT")


def job_key(job_id: str) -> dict[str, Any]:
    return dynamo.key(f"JOB#{job_id}", "JOB")


def count_key(repository_id: str, collection_id: str) -> dict[str, Any]:
    return dynamo.key(f"COUNT#{repository_id}#{collection_id}", "COUNT")


def fields_key(repository_id: str, collection_id: str) -> dict[str, Any]:
    return dynamo.key(f"FIELDS#{repository_id}#{collection_id}", "FIELDS")


def taken_place(document_id: str) -> str:
    return f"TAKEN#{zlib.crc32(document_id.encode()) % TAKEN_PARTITIONS}"


def documents_place(repository_id: str, collection_id: str) -> str:
    return f"DOCS#{repository_id}#{collection_id}"


def documents_owner(owner: str) -> str:
    return f"DOCS#{owner}"


def objects_of(repository_id: str, collection_id: str) -> str:
    return f"OBJECTS#{repository_id}#{collection_id}"


def jobs_place(repository_id: str) -> str:
    return f"JOBS#{repository_id}"


def jobs_owner(repository_id: str, owner: str) -> str:
    return f"JOBS#{repository_id}#{owner}"


def document_item(document: Document, generations: Mapping[str, int]) -> dict[str, Any]:
    """`generations` says how many chunks the document has in each generation of its collection that it is in."""
    own: dict[str, Any] = {
        "place": documents_place(document.repository_id, document.collection_id),
        "at": at(document.uploaded_at, document.id),
        "generations": dict(generations),
    }
    if document.owner:
        own["ownedBy"] = documents_owner(document.owner)
    return dynamo.to_item(values(document) | own) | document_key(document.id)


def document_of(item: Mapping[str, Any]) -> Document:
    return record(Document, dict(item))


def job_item(job: Job, *, unplaced: bool = False) -> dict[str, Any]:
    own: dict[str, Any] = {
        "place": jobs_place(job.repository_id),
        "ownedBy": UNPLACED if unplaced else jobs_owner(job.repository_id, job.owner),
        "at": at(job.created_at, job.id),
        "expiresAt": job.created_at // 1000 + JOB_SECONDS,
    }
    return dynamo.to_item(values(job) | own) | job_key(job.id)


def job_of(item: Mapping[str, Any]) -> Job:
    return record(Job, dict(item))
