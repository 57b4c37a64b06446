"""What people send and get at `/api/repository` and its collections; the names of the fields are upstream's."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

RepositoryId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{1,18}[a-z0-9]$")]
CollectionName = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=100, pattern=r"^[A-Za-z0-9 _-]*[A-Za-z0-9_-]$")
]
Title = Annotated[str, StringConstraints(max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")]
Text = Annotated[str, StringConstraints(max_length=2000)]
GroupName = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Groups = Annotated[list[GroupName], Field(max_length=100)]
Tag = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,50}$")]
Tags = Annotated[list[Tag], Field(max_length=50)]
ModelWord = Annotated[str, StringConstraints(min_length=1, max_length=64)]
FieldName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,63}$")]
FieldValue = Annotated[str, StringConstraints(max_length=1024)] | bool | int | float
CustomFields = Annotated[dict[FieldName, FieldValue], Field(max_length=50)]
Host = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.:-]{0,252}[A-Za-z0-9])?$")]
Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$")]
SecretId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9/_+=.@:-]{1,512}$")]
Bucket = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
Prefix = Annotated[str, StringConstraints(max_length=512, pattern=r"^[^\x00-\x1f\x7f]*$")]
_RATE = r"rate\([1-9][0-9]{0,4} (minute|hour|day)s?\)"
_CRON = r"cron\([0-9A-Za-z,*/?#LW -]{9,100}\)"
Schedule = Annotated[str, StringConstraints(pattern=f"^({_RATE}|{_CRON})$")]
Endpoint = Annotated[str, StringConstraints(max_length=253, pattern=r"^(https?://)?[A-Za-z0-9.:-]+/?$")]


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


class _Part(BaseModel):
    # Unknown fields are ignored: what GET answered can be posted again, and upstream's clients send more than is used.
    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, strict=True, extra="ignore"
    )


class ChunkingStrategy(_Part):
    """`size` and `overlap` count tokens of the embedding model; `none` keeps each document whole."""

    type: Annotated[Literal["fixed", "none"], BeforeValidator(_lower)] = "fixed"
    size: Annotated[int, Field(ge=100, le=10_000)] = 512
    overlap: Annotated[int, Field(ge=0, le=5_000)] = 51

    @classmethod
    def checked(cls, strategy: "ChunkingStrategy") -> "ChunkingStrategy":
        if strategy.type == "fixed" and strategy.overlap * 2 > strategy.size:
            raise ValueError("overlap must be half of size at most")
        return strategy


Strategy = Annotated[ChunkingStrategy, AfterValidator(ChunkingStrategy.checked)]


class Metadata(_Part):
    tags: Tags = Field(default_factory=list)
    custom_fields: CustomFields = Field(default_factory=dict)


class RdsConfig(_Part):
    """A PostgreSQL of your own; without `dbHost` it is the deployment's. The password lies in Secrets Manager."""

    username: Word = "postgres"
    password_secret_id: SecretId | None = None
    db_host: Host | None = None
    db_name: Word = "postgres"
    db_port: Annotated[int, Field(ge=1, le=65535)] = 5432


class OpenSearchConfig(_Part):
    """An OpenSearch of your own; without `endpoint` it is the deployment's."""

    endpoint: (
        Annotated[str, StringConstraints(max_length=253, pattern=r"^(https?://)?[A-Za-z0-9.:-]+/?$")] | None
    ) = None


class PipelineDefinition(_Part):
    """A folder whose files come into a collection by themselves; `daily` and `schedule` go by the clock (UTC)."""

    pipeline_id: Word | None = Field(
        default=None, description="Ours to give; names the pipeline when it is changed"
    )
    s3_bucket: Bucket
    s3_prefix: Prefix
    trigger: Annotated[Literal["event", "schedule", "daily"], BeforeValidator(_lower)]
    schedule: Schedule | None = Field(
        default=None,
        description="For the trigger `schedule`: a cron or rate expression; without it, once a day",
    )
    auto_remove: bool = Field(default=True, description="Whether a file that goes takes its document with it")
    collection_id: Annotated[str, StringConstraints(max_length=100)] | None = None
    chunking_strategy: Strategy | None = None
    chunk_size: Annotated[int, Field(ge=100, le=10_000)] | None = None
    chunk_overlap: Annotated[int, Field(ge=0, le=5_000)] | None = None
    metadata: Metadata = Field(default_factory=Metadata)


class _RepositoryPart(_Part):
    repository_name: Title | None = None
    description: Text | None = None
    embedding_model_id: ModelWord | None = None
    allowed_groups: Groups | None = None
    allow_user_collections: bool | None = Field(
        default=None,
        description="Whether any user may make collections of their own; true if nothing is said",
    )
    metadata: Metadata | None = None
    pipelines: Annotated[list[PipelineDefinition], Field(max_length=50)] | None = None
    bedrock_knowledge_base_config: dict[str, Any] | None = Field(default=None, exclude=True)


class CreateRepository(_RepositoryPart):
    repository_id: RepositoryId
    type: Literal["pgvector", "opensearch", "bedrock_knowledge_base"]
    rds_config: RdsConfig | None = None
    opensearch_config: OpenSearchConfig | None = None


class UpdateRepository(_RepositoryPart):
    """What is left out stays as it is."""


class RepositoryAnswer(_Part):
    repository_id: str
    type: str
    repository_name: str
    description: str
    embedding_model_id: str | None
    allowed_groups: list[str]
    allow_user_collections: bool
    metadata: Metadata
    pipelines: list[PipelineDefinition]
    rds_config: RdsConfig | None = None
    opensearch_config: OpenSearchConfig | None = None
    status: str
    status_reason: str | None = None
    created_by: str
    created_at: str
    updated_at: str


class CreateCollection(_Part):
    name: CollectionName
    description: Text | None = None
    embedding_model: ModelWord | None = Field(
        default=None, description="Without it, the repository's; never changes"
    )
    dimensions: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="What you expect of the model's vectors; another length is refused"
    )
    chunking_strategy: Strategy | None = None
    allow_chunking_override: bool = False
    allowed_groups: Groups | None = None
    metadata: Metadata | None = None


class UpdateCollection(_Part):
    """What is left out stays as it is."""

    name: CollectionName | None = None
    description: Text | None = None
    embedding_model: ModelWord | None = None
    chunking_strategy: Strategy | None = None
    allow_chunking_override: bool | None = None
    allowed_groups: Groups | None = None
    metadata: Metadata | None = None
    status: Annotated[str, StringConstraints(max_length=20)] | None = Field(
        default=None,
        description="ACTIVE or ARCHIVED: an archived collection is searched and takes nothing new",
    )


class ReindexCollection(_Part):
    """How the collection's documents are to be cut and embedded; what is left out stays as it is."""

    embedding_model: ModelWord | None = None
    chunking_strategy: Strategy | None = None


class CollectionAnswer(_Part):
    collection_id: str
    repository_id: str
    repository_name: str | None = None
    name: str
    description: str
    chunking_strategy: dict[str, str | int]
    allow_chunking_override: bool
    metadata: Metadata
    allowed_groups: list[str]
    embedding_model: str
    dimensions: int
    owner: str | None
    created_by: str
    created_at: str
    updated_at: str
    status: str
    status_reason: str | None = None
    default: bool
    document_count: int | None = Field(default=None, description="When one collection is asked for")
    chunk_count: int | None = None
    size_bytes: int | None = Field(default=None, description="Of the documents' files")
    pipelines: list[PipelineDefinition] = Field(default_factory=list)


class CollectionQuery(BaseModel):
    """What of a list of collections is asked for; upstream's server and its clients differ in some words."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, extra="ignore"
    )

    page: Annotated[int, Field(ge=1)] | None = None
    page_size: int | None = Field(default=None, description="1-100; without it, all")
    sort_by: str | None = Field(default=None, description="createdAt, updatedAt or name")
    sort_order: str | None = Field(default=None, description="asc or desc")
    filter_text: str | None = Field(default=None, description="In the name or the description")
    filter: str | None = Field(default=None, description="The same as filterText")
    status_filter: str | None = Field(default=None, description="A status, in letters of any case")
    status: str | None = Field(default=None, description="The same as statusFilter")
    last_evaluated_key: str | None = Field(default=None, description="From the page before, as JSON")
    last_evaluated_key_collection_id: str | None = Field(
        default=None, description="Or only its collectionId, within one repository"
    )
    next_token: str | None = Field(default=None, description="From the page before")


class Pagination(_Part):
    total_count: int | None
    current_page: int | None
    total_pages: int | None


class CollectionsAnswer(_Part):
    collections: list[CollectionAnswer]
    pagination: Pagination
    last_evaluated_key: dict[str, str] | str | None
    next_token: str | None
    has_next_page: bool
    has_previous_page: bool


class DeletionSummary(_Part):
    lisa_managed_documents: int
    user_managed_documents: int
    action: str


class CollectionDeletion(_Part):
    """`partial` leaves the default collection, empty."""

    job_id: str
    deletion_type: Literal["full", "partial"]
    status: str
    summary: DeletionSummary


class RepositoryDeletion(_Part):
    status: str = "success"
    execution_arn: str = Field(description="Names the wish that is being fulfilled")
