"""What OpenAI's clients send to `/v1/vector_stores`; unknown fields are ignored, as OpenAI does."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from lisa.rag.records import Attribute, Chunking

MAX_PAIRS = 16
MAX_BATCH = 2000
Key = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,63}$")]
Value = Annotated[str, StringConstraints(max_length=512)]
AttributeValue = Value | bool | int | float
Metadata = Annotated[dict[Key, Value], Field(max_length=MAX_PAIRS)]
Attributes = Annotated[dict[Key, AttributeValue], Field(max_length=MAX_PAIRS)]
FileId = Annotated[str, StringConstraints(min_length=1, max_length=100)]
FileIds = Annotated[list[FileId], Field(max_length=MAX_BATCH)]
Name = Annotated[str, StringConstraints(max_length=256, pattern=r"^[^\x00-\x1f\x7f]*$")]
# OpenAI's own, which it applies where nothing is said.
DEFAULT_SIZE, DEFAULT_OVERLAP = 800, 400


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class Static(_Body):
    max_chunk_size_tokens: Annotated[int, Field(ge=100, le=4096)] = DEFAULT_SIZE
    chunk_overlap_tokens: Annotated[int, Field(ge=0, le=2048)] = DEFAULT_OVERLAP

    @model_validator(mode="after")
    def _fits(self) -> "Static":
        if self.chunk_overlap_tokens * 2 > self.max_chunk_size_tokens:
            raise ValueError("chunk_overlap_tokens must be half of max_chunk_size_tokens at most")
        return self


class ChunkingStrategy(_Body):
    """`auto` leaves it to the vector store."""

    type: Literal["auto", "static"]
    static: Static | None = None

    @model_validator(mode="after")
    def _whole(self) -> "ChunkingStrategy":
        if self.type == "static" and self.static is None:
            raise ValueError("static must hold max_chunk_size_tokens and chunk_overlap_tokens")
        return self

    def chunking(self) -> Chunking | None:
        if self.static is None or self.type == "auto":
            return None
        return Chunking("fixed", self.static.max_chunk_size_tokens, self.static.chunk_overlap_tokens)


class _NeverExpires(_Body):
    expires_after: Any = None

    @field_validator("expires_after")
    @classmethod
    def _refused(cls, value: Any) -> Any:
        if value is not None:
            raise ValueError("it is not supported: a vector store stays until it is deleted. Leave it out")
        return value


class CreateVectorStore(_NeverExpires):
    name: Name | None = None
    description: Annotated[str, StringConstraints(max_length=2000)] | None = None
    metadata: Metadata | None = None
    file_ids: FileIds | None = None
    chunking_strategy: ChunkingStrategy | None = None


class UpdateVectorStore(_NeverExpires):
    name: Name | None = None
    metadata: Metadata | None = None


class AttachFile(_Body):
    file_id: FileId
    attributes: Attributes | None = None
    chunking_strategy: ChunkingStrategy | None = None


class UpdateFile(_Body):
    attributes: Attributes | None


class CreateBatch(_Body):
    file_ids: FileIds | None = None
    files: Annotated[list[AttachFile], Field(max_length=MAX_BATCH)] | None = None
    attributes: Attributes | None = None
    chunking_strategy: ChunkingStrategy | None = None

    @model_validator(mode="after")
    def _either(self) -> "CreateBatch":
        if bool(self.file_ids) == bool(self.files):
            raise ValueError("give file_ids or files, and at least one file")
        return self

    def attachments(self) -> list[AttachFile]:
        """Each file once; what is said for all counts for `file_ids` only."""
        wanted = self.files or [
            AttachFile(file_id=each, attributes=self.attributes, chunking_strategy=self.chunking_strategy)
            for each in self.file_ids or ()
        ]
        return list({each.file_id: each for each in wanted}.values())


class NewFile(_Body):
    """What the gateway says of a file whose bytes it has put into S3."""

    id: FileId
    filename: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    bytes: Annotated[int, Field(ge=0)]
    purpose: Literal["assistants", "user_data"]


def attributes_of(given: dict[str, AttributeValue] | None) -> dict[str, Attribute]:
    """Attributes as they are kept: every number is a float."""
    return {
        name: value if isinstance(value, bool | str) else float(value)
        for name, value in (given or {}).items()
    }
