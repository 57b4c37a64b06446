"""The job by which people see how the deletion of a collection gets on."""

import uuid

from lisa.rag.records import Collection, Job, JobStatus, JobType

_DELETIONS = uuid.UUID("0d5c1b3e-52a5-5f0c-8f43-6b8cf5f3c9a7")


def deletion_job(collection: Collection, user: str) -> Job:
    """The job of a collection's deletion as it begins; its id is the same whenever it is asked for."""
    name = f"{collection.repository_id}\n{collection.id}\n{collection.version}"
    return Job(
        id=str(uuid.uuid5(_DELETIONS, name)),
        type=JobType.COLLECTION_DELETION,
        status=JobStatus.DELETE_PENDING,
        repository_id=collection.repository_id,
        collection_id=collection.id,
        source="",
        document_id="",
        owner=user,
        created_at=collection.updated_at,
        updated_at=collection.updated_at,
        embedding_model=collection.embedding_model,
    )
