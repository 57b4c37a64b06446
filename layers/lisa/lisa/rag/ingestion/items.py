"""What travels between the steps of a workflow: references to documents, and what became of each."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from lisa.rag.documents.objects import Kind, ObjectState
from lisa.rag.documents.queue import Request
from lisa.rag.records import Chunking

# Texts in a batch: two requests to the embedding model, which are under way at once.
BATCH_TEXTS = 128


class Action(StrEnum):
    """`feed` puts a document as it is into another generation of its collection."""

    INGEST = "ingest"
    FEED = "feed"
    RETAG = "retag"
    REMOVE = "remove"


class Outcome(StrEnum):
    """Empty while there is more to do about an item; otherwise later steps leave it to the last one, `Commit`."""

    OPEN = ""
    UNCHANGED = "unchanged"
    STORED = "stored"
    SUPERSEDED = "superseded"
    FAILED = "failed"
    RETRY = "retry"
    FORCE = "force"
    LONG = "long"


class Part(BaseModel):
    """Where some chunks of a document are: `count` from `start` on, in the batch of this number."""

    model_config = ConfigDict(frozen=True)

    batch: int
    start: int
    count: int


class Item(BaseModel):
    """A version of a document on its way into, or out of, one generation of its collection.

    `request` is the id of the message that asked for it. `at` is epoch milliseconds. `nowhere` is
    one that belongs to no collection. `reason` is for people, `code` for
    programs: that of a refused file, `server_error` for what is ours, or empty.
    """

    model_config = ConfigDict(frozen=True)

    request: str
    action: Action
    document_id: str
    repository_id: str
    collection_id: str
    sequencer: str
    job_id: str
    bucket: str
    key: str
    pipeline: str = ""
    etag: str = ""
    size: int = 0
    at: int = 0
    generation: int = 0
    dimensions: int = 0
    model: str = ""
    chunking: Chunking = Chunking()
    nowhere: bool = False
    delete_object: bool = False
    force: bool = False
    existing: bool = False
    interactive: bool = False
    outcome: Outcome = Outcome.OPEN
    reason: str = ""
    code: str = ""
    media_type: str = ""
    content_hash: str = ""
    chunks: int = 0
    notes: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()

    @classmethod
    def of(cls, state: ObjectState, *, request: str = "") -> "Item":
        """What the newest version of an object asks for."""
        return cls(
            request=request,
            action=Action.REMOVE if state.kind is Kind.REMOVED else Action.INGEST,
            document_id=state.document_id,
            repository_id=state.repository_id,
            collection_id=state.collection_id,
            sequencer=state.sequencer,
            job_id=state.job_id,
            bucket=state.bucket,
            key=state.key,
            pipeline=state.pipeline,
            etag=state.etag,
            size=state.size,
        )

    @property
    def is_open(self) -> bool:
        return self.outcome is Outcome.OPEN

    def became(self, outcome: Outcome, reason: str = "", **more: Any) -> "Item":
        return self.model_copy(update={"outcome": outcome, "reason": reason, **more})


class Batch(BaseModel):
    """Chunks that are embedded together, kept in the work area under their number."""

    model_config = ConfigDict(frozen=True)

    number: int
    model: str
    texts: int


class AskedFor(Request):
    """A request with the id of the message that brought it."""

    id: str


class Work(BaseModel):
    """The state of an execution. `work` names its folder in the work area, `holder` its slot when it is a long one."""

    model_config = ConfigDict(frozen=True)

    work: str
    long: bool = False
    requests: tuple[AskedFor, ...] = ()
    items: tuple[Item, ...] = ()
    batches: tuple[Batch, ...] = ()
    left: int = 0

    def with_items(self, items: Iterable[Item], **more: Any) -> "Work":
        return self.model_copy(update={"items": tuple(items), **more})

    def as_state(self) -> dict[str, Any]:
        """What the state machines choose by is always there: `open` says how many items are to be worked on."""
        state: dict[str, Any] = self.model_dump(mode="json", exclude_defaults=True)
        still = sum(1 for each in self.items if each.outcome in (Outcome.OPEN, Outcome.UNCHANGED))
        return {"items": [], "batches": [], "left": self.left, "long": self.long, **state, "open": still}
