"""What retrieval keeps: repositories, their collections, documents and the jobs that bring them in or remove them.

A repository is a store (pgvector or OpenSearch) with its settings, a collection a set of documents in it that are
chunked and embedded alike, a document one object in S3. Times are epoch milliseconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

Attribute = str | float | bool


class StoreType(StrEnum):
    PGVECTOR = "pgvector"
    OPENSEARCH = "opensearch"


class RepositoryStatus(StrEnum):
    CREATE_IN_PROGRESS = "CREATE_IN_PROGRESS"
    CREATE_COMPLETE = "CREATE_COMPLETE"
    CREATE_FAILED = "CREATE_FAILED"
    UPDATE_IN_PROGRESS = "UPDATE_IN_PROGRESS"
    UPDATE_COMPLETE = "UPDATE_COMPLETE"
    UPDATE_FAILED = "UPDATE_FAILED"
    DELETE_IN_PROGRESS = "DELETE_IN_PROGRESS"
    DELETE_FAILED = "DELETE_FAILED"


class CollectionStatus(StrEnum):
    """`ACTIVE` is searched and fed. A collection that is indexed anew stays ACTIVE: the old index serves."""

    CREATE_IN_PROGRESS = "CREATE_IN_PROGRESS"
    CREATE_FAILED = "CREATE_FAILED"
    ACTIVE = "ACTIVE"
    ARCHIVED = "ARCHIVED"
    DELETE_IN_PROGRESS = "DELETE_IN_PROGRESS"
    DELETE_FAILED = "DELETE_FAILED"


class IngestionType(StrEnum):
    """`manual` by the API, `auto` by a file that appeared in a folder, `existing` found there when it was named."""

    MANUAL = "manual"
    AUTO = "auto"
    EXISTING = "existing"


class JobType(StrEnum):
    INGESTION = "document_ingestion"
    DELETION = "document_deletion"
    COLLECTION_DELETION = "collection_deletion"
    REINDEX = "collection_reindex"


class JobStatus(StrEnum):
    INGESTION_PENDING = "INGESTION_PENDING"
    INGESTION_IN_PROGRESS = "INGESTION_IN_PROGRESS"
    INGESTION_COMPLETED = "INGESTION_COMPLETED"
    INGESTION_FAILED = "INGESTION_FAILED"
    DELETE_PENDING = "DELETE_PENDING"
    DELETE_IN_PROGRESS = "DELETE_IN_PROGRESS"
    DELETE_COMPLETED = "DELETE_COMPLETED"
    DELETE_FAILED = "DELETE_FAILED"


@dataclass(frozen=True, slots=True)
class Chunking:
    """How documents are cut: `size` and `overlap` in tokens of the embedding model; `none` keeps each whole."""

    type: str = "fixed"
    size: int = 512
    overlap: int = 51


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A folder whose files belong to a collection: taken in when they appear, or when the schedule says so.

    `trigger` is `event`, `schedule` or `daily`; `schedule` then holds a cron or rate expression.
    """

    id: str
    bucket: str
    prefix: str
    trigger: str
    collection_id: str
    auto_remove: bool = True
    schedule: str = ""
    chunking: Chunking | None = None
    tags: tuple[str, ...] = ()
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Connection:
    """Where a repository's own store is. An empty `endpoint` means the deployment's store of that type.

    `secret_id` names the secret with the password; empty with IAM authentication.
    """

    endpoint: str = ""
    port: int = 0
    database: str = ""
    username: str = ""
    secret_id: str = ""


@dataclass(frozen=True, slots=True)
class Repository:
    id: str
    type: StoreType
    name: str
    description: str = ""
    embedding_model_id: str = ""
    allowed_groups: tuple[str, ...] = ()
    allow_user_collections: bool = True
    connection: Connection = Connection()
    pipelines: tuple[Pipeline, ...] = ()
    tags: tuple[str, ...] = ()
    custom_fields: Mapping[str, Attribute] = field(default_factory=dict)
    status: RepositoryStatus = RepositoryStatus.CREATE_IN_PROGRESS
    reason: str = ""
    created_by: str = ""
    created_at: int = 0
    updated_at: int = 0
    version: int = 0


@dataclass(frozen=True, slots=True)
class Collection:
    """`generation` counts the collection's indices: documents are searched in this one.

    While it is indexed anew, `next_generation` is the one that is filled; 0 otherwise. `owner` is the user who
    created a collection of their own; then only the owner and administrators see it until `allowed_groups` is set.
    `dimensions` is the length of the model's vectors.
    """

    id: str
    repository_id: str
    name: str
    embedding_model: str
    dimensions: int
    chunking: Chunking = Chunking()
    allow_chunking_override: bool = False
    description: str = ""
    allowed_groups: tuple[str, ...] = ()
    owner: str = ""
    tags: tuple[str, ...] = ()
    custom_fields: Mapping[str, Attribute] = field(default_factory=dict)
    is_default: bool = False
    generation: int = 1
    next_generation: int = 0
    status: CollectionStatus = CollectionStatus.CREATE_IN_PROGRESS
    reason: str = ""
    created_by: str = ""
    created_at: int = 0
    updated_at: int = 0
    version: int = 0


@dataclass(frozen=True, slots=True)
class Document:
    """A document that is searched. `source` is its `s3://` address, `sequencer` orders the versions of that object.

    `notes` say what of the file could not be read.
    """

    id: str
    repository_id: str
    collection_id: str
    name: str
    source: str
    owner: str
    chunking: Chunking
    ingestion_type: IngestionType
    uploaded_at: int
    chunks: int
    bytes: int
    sequencer: str
    content_hash: str
    media_type: str
    tags: tuple[str, ...] = ()
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """The history of one piece of work on one document (or collection): how far it is, and why it failed.

    `reason` is for people; `code` is that of a file that was refused (`lisa.rag.parsing`), `server_error` where the
    trouble is ours, or empty.
    """

    id: str
    type: JobType
    status: JobStatus
    repository_id: str
    collection_id: str
    source: str
    document_id: str
    owner: str
    created_at: int
    updated_at: int
    ingestion_type: IngestionType = IngestionType.MANUAL
    chunking: Chunking | None = None
    embedding_model: str = ""
    reason: str = ""
    code: str = ""
    attempts: int = 0
    chunks_total: int = 0
    chunks_done: int = 0
