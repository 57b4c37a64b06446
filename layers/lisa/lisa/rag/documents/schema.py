"""What people send and get about documents and their jobs; names and letter case are upstream's."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from lisa.rag.documents import jobs as job_rules
from lisa.rag.documents.naming import name_of, split_source
from lisa.rag.documents.uploads import Form
from lisa.rag.records import Attribute, Chunking, Document, IngestionType, Job, JobType
from lisa.rag.repositories.definitions import moment, strategy_of
from lisa.rag.repositories.schema import Metadata, Strategy

Key = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
Word = Annotated[str, StringConstraints(max_length=100)]
Identity = Annotated[str, StringConstraints(min_length=1, max_length=100)]


class _Part(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, strict=True, extra="ignore"
    )


class PostForm(_Part):
    """Where a file is posted as multipart/form-data: all fields first, then the file as `file`."""

    url: str
    fields: dict[str, str]


class PresignedUrl(_Part):
    response: PostForm


class EmbeddingModel(_Part):
    model_name: Word | None = None


class Bulk(_Part):
    keys: Annotated[list[Key], Field(description="Keys of your uploads, as their forms gave them")]
    collection_id: Word | None = Field(
        default=None, description="Id or name; without it, embeddingModel's, and without that the default one"
    )
    embedding_model: EmbeddingModel | None = None
    chunking_strategy: Strategy | None = Field(
        default=None, description="Counts where the collection allows it (allowChunkingOverride)"
    )
    metadata: Metadata | None = None

    @property
    def collection(self) -> str:
        return self.collection_id or (self.embedding_model and self.embedding_model.model_name) or ""


class JobReference(_Part):
    job_id: str
    document_id: str | None
    status: str
    s3_path: str


class BulkAnswer(_Part):
    jobs: list[JobReference]
    collection_id: str
    collection_name: str


class DeleteDocuments(_Part):
    document_ids: Annotated[list[Identity], Field(min_length=1, max_length=100)]


class DeleteAnswer(_Part):
    jobs: list[JobReference]
    deleted_count: int


class DocumentItem(BaseModel):
    """`upload_date` in epoch milliseconds; `bytes` of the file."""

    pk: str
    document_id: str
    repository_id: str
    collection_id: str
    document_name: str
    source: str
    username: str
    chunk_strategy: dict[str, str | int]
    ingestion_type: str
    upload_date: int
    chunks: int
    bytes: int
    media_type: str
    tags: list[str]
    metadata: dict[str, Attribute]
    notes: list[str] = Field(description="What of the file could not be read, and why")


class LastDocument(BaseModel):
    """To be sent back as lastEvaluatedKeyPk, lastEvaluatedKeyDocumentId and lastEvaluatedKeyRepositoryId."""

    pk: str
    document_id: str
    repository_id: str


class DocumentsAnswer(_Part):
    documents: list[DocumentItem]
    last_evaluated: LastDocument | None
    next_token: str | None
    total_documents: int
    has_next_page: bool
    has_previous_page: bool


class JobItem(BaseModel):
    """A job and how far it is. `progress` runs from 0 to 1; `eta_seconds` is guessed from what is done so far."""

    id: str
    job_type: str
    status: str
    s3_path: str
    s3_paths: list[str]
    document_name: str
    document_id: str | None
    document_ids: list[str]
    collection_id: str
    repository_id: str
    chunk_strategy: dict[str, str | int] | None
    embedding_model: str | None
    username: str
    ingestion_type: str
    auto: bool
    created_date: str
    updated_date: str
    error_message: str | None
    attempts: int
    progress: float
    eta_seconds: int | None
    chunks_done: int
    chunks_total: int
    collection_deletion: bool


class LastJob(BaseModel):
    """To be sent back as `lastEvaluatedKey`, as JSON."""

    id: str
    repository_id: str
    created_date: str
    token: str


class JobsAnswer(_Part):
    jobs: list[JobItem]
    last_evaluated_key: LastJob | None
    next_token: str | None
    has_next_page: bool
    has_previous_page: bool


def presigned(form: Form) -> PresignedUrl:
    return PresignedUrl(response=PostForm(url=form.url, fields=dict(form.fields)))


def reference(job: Job) -> JobReference:
    return JobReference(
        job_id=job.id, document_id=job.document_id or None, status=str(job.status), s3_path=job.source
    )


def document_item(document: Document) -> DocumentItem:
    return DocumentItem(
        pk=f"{document.repository_id}#{document.collection_id}",
        document_id=document.id,
        repository_id=document.repository_id,
        collection_id=document.collection_id,
        document_name=document.name,
        source=document.source,
        username=document.owner,
        chunk_strategy=strategy_of(document.chunking),
        ingestion_type=str(document.ingestion_type),
        upload_date=document.uploaded_at,
        chunks=document.chunks,
        bytes=document.bytes,
        media_type=document.media_type,
        tags=list(document.tags),
        metadata=dict(document.attributes),
        notes=list(document.notes),
    )


def documents_answer(
    documents: list[Document], token: str | None, total: int, *, is_first: bool
) -> DocumentsAnswer:
    last = None
    if token and documents:
        last = LastDocument(pk=token, document_id=documents[-1].id, repository_id=documents[-1].repository_id)
    return DocumentsAnswer(
        documents=[document_item(each) for each in documents],
        last_evaluated=last,
        next_token=token,
        total_documents=total,
        has_next_page=token is not None,
        has_previous_page=not is_first,
    )


def job_item(job: Job) -> JobItem:
    done = job.status in job_rules.SETTLED and job.status not in job_rules.FAILED
    share = 1.0 if done else job.chunks_done / job.chunks_total if job.chunks_total else 0.0
    return JobItem(
        id=job.id,
        job_type=str(job.type),
        status=str(job.status),
        s3_path=job.source,
        s3_paths=[job.source] if job.source else [],
        document_name=name_of(split_source(job.source)[1]) if job.source else "",
        document_id=job.document_id or None,
        document_ids=[job.document_id] if job.document_id else [],
        collection_id=job.collection_id,
        repository_id=job.repository_id,
        chunk_strategy=strategy_of(job.chunking) if isinstance(job.chunking, Chunking) else None,
        embedding_model=job.embedding_model or None,
        username=job.owner,
        ingestion_type=str(job.ingestion_type),
        auto=job.ingestion_type is not IngestionType.MANUAL,
        created_date=moment(job.created_at),
        updated_date=moment(job.updated_at),
        error_message=job.reason or None,
        attempts=job.attempts,
        progress=round(share, 3),
        eta_seconds=_eta(job),
        chunks_done=job.chunks_done,
        chunks_total=job.chunks_total,
        collection_deletion=job.type is JobType.COLLECTION_DELETION,
    )


def _eta(job: Job) -> int | None:
    """Seconds that are left if the rest takes as long as what is done took; None where nothing is known."""
    if job.status in job_rules.SETTLED:
        return 0
    if not job.chunks_done:
        return None
    elapsed = max(0, job.updated_at - job.created_at)
    return round(elapsed * (job.chunks_total - job.chunks_done) / job.chunks_done / 1000)


def jobs_answer(jobs: list[Job], token: str | None, *, is_first: bool) -> JobsAnswer:
    last = None
    if token and jobs:
        last = LastJob(
            id=jobs[-1].id,
            repository_id=jobs[-1].repository_id,
            created_date=moment(jobs[-1].created_at),
            token=token,
        )
    return JobsAnswer(
        jobs=[job_item(job) for job in jobs],
        last_evaluated_key=last,
        next_token=token,
        has_next_page=token is not None,
        has_previous_page=not is_first,
    )
