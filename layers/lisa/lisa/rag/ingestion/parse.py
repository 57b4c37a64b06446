"""Second step: files become chunks. Reads each file once, whatever the number of generations that it goes into."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from lisa.errors import LisaError
from lisa.rag.documents import naming
from lisa.rag.documents.store import DocumentStore, Kept
from lisa.rag.ingestion.contents import Contents
from lisa.rag.ingestion.items import BATCH_TEXTS, Action, Batch, Item, Outcome, Part, Work
from lisa.rag.ingestion.work import WorkArea
from lisa.rag.parsing import DocumentRefused, ParsedDocument
from lisa.rag.vectors.base import Chunk

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

# A document with more chunks than these has an execution of its own.
LONG_CHUNKS = 1024
# Seconds that a file may take. Ten of the first kind fit into the five minutes of an Express execution.
ORDINARY_SECONDS, LONG_SECONDS = 20, 240
# Seconds after which an invocation begins no further file.
BUDGET = 25.0
# What is kept of what the parsers could not read: notes, and characters of one. A state holds ten files'.
MAX_NOTES, MAX_NOTE = 10, 300
# What the parsers say of a file that takes longer, or more memory, than it may.
TOO_COMPLEX = "too_complex"


@dataclass(slots=True)
class _File:
    data: bytes
    media_type: str
    digest: str
    etag: str
    size: int


@dataclass(slots=True)
class _Batches:
    """Chunks of many documents, packed by model into batches that are written when they are full."""

    area: WorkArea
    work: str
    done: list[Batch]
    open: dict[str, list[tuple[Chunk, str]]] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    next_number: int = 0

    def add(self, model: str, chunk: tuple[Chunk, str]) -> tuple[int, int]:
        """The batch's number, and the position in it."""
        waiting = self.open.setdefault(model, [])
        if not waiting:
            self.numbers[model] = self.next_number
            self.next_number += 1
        waiting.append(chunk)
        placed = (self.numbers[model], len(waiting) - 1)
        if len(waiting) == BATCH_TEXTS:
            self.write(model)
        return placed

    def write(self, model: str) -> None:
        chunks = self.open.pop(model, [])
        if chunks:
            self.area.put_chunks(self.work, self.numbers[model], chunks)
            self.done.append(Batch(number=self.numbers[model], model=model, texts=len(chunks)))

    def finish(self) -> list[Batch]:
        for model in list(self.open):
            self.write(model)
        return self.done


class ParseDocuments:
    """`s3` is a low-level client; `clock` is monotonic, in seconds."""

    def __init__(
        self,
        contents: Contents,
        documents: DocumentStore,
        area: WorkArea,
        s3: "S3Client",
        *,
        max_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._contents = contents
        self._documents = documents
        self._area = area
        self._s3 = s3
        self._max_bytes = max_bytes
        self._clock = clock

    def __call__(self, work: Work) -> Work:
        """Goes on where an invocation before has stopped; `left` counts the items that are still to be parsed."""
        ends = self._clock() + BUDGET
        batches = _Batches(self._area, work.work, list(work.batches), next_number=len(work.batches))
        todo = [item for item in work.items if _to_parse(item)]
        kept = self._documents.kept(item.document_id for item in todo) if todo else {}
        done: dict[int, Item] = {}
        reader = _Reader(self._contents, self._s3, self._max_bytes, work.long)
        for position, item in enumerate(work.items):
            if _to_parse(item) and not (done and self._clock() > ends):
                done[position] = self._parse(
                    item, kept.get(item.document_id), reader, batches, long=work.long
                )
        items = [done.get(position, item) for position, item in enumerate(work.items)]
        left = sum(1 for item in items if _to_parse(item))
        return work.with_items(items, batches=tuple(batches.finish()), left=left)

    def _parse(
        self, item: Item, kept: Kept | None, reader: "_Reader", batches: _Batches, *, long: bool
    ) -> Item:
        try:
            chunking = self._contents.effective(item.chunking, item.model)
            file = reader.fetch(item)
            if item.action is Action.FEED:
                if kept is None or kept.document.content_hash != file.digest:
                    return item.became(Outcome.FAILED, "The file is not the one any more that was ingested.")
            elif item.etag and file.etag != item.etag:
                return item.became(Outcome.SUPERSEDED)
            known = {"content_hash": file.digest, "media_type": file.media_type, "size": file.size}
            item = item.model_copy(update={**known, "chunking": chunking})
            if kept is not None and not item.force and _same(item, kept):
                chunks, notes = kept.generations[item.generation], kept.document.notes
                return item.became(Outcome.UNCHANGED, chunks=chunks, notes=notes)
            parsed = reader.read(item, file)
            said = tuple(note[:MAX_NOTE] for note in parsed.notes[:MAX_NOTES])
            item = item.model_copy(update={"media_type": parsed.media_type, "notes": said})
            return self._cut(item, parsed, batches, long=long)
        except DocumentRefused as refused:
            if refused.code == TOO_COMPLEX and not long:
                return item.became(Outcome.LONG)
            return item.became(Outcome.FAILED, refused.message, code=refused.code)
        except _Gone:
            reason = "The file was removed before it was read."
            return item.became(Outcome.FAILED if item.action is Action.FEED else Outcome.SUPERSEDED, reason)
        except LisaError as error:
            transient = error.status >= 500 or error.status == 429
            return item.became(Outcome.RETRY if transient else Outcome.FAILED, error.message)

    def _cut(self, item: Item, parsed: ParsedDocument, batches: _Batches, *, long: bool) -> Item:
        parts: list[Part] = []
        count = 0
        for chunk in self._contents.chunks(parsed, item.chunking, item.model):
            count += 1
            if count > LONG_CHUNKS and not long:
                return item.became(Outcome.LONG)
            batch, position = batches.add(item.model, chunk)
            if parts and parts[-1].batch == batch:
                parts[-1] = parts[-1].model_copy(update={"count": parts[-1].count + 1})
            else:
                parts.append(Part(batch=batch, start=position, count=1))
        if not count:
            return item.became(Outcome.FAILED, "There is no text in the file.", code="empty")
        return item.model_copy(update={"parts": tuple(parts), "chunks": count})


class _Gone(Exception):
    """The object is not there any more."""


class _Reader:
    """Fetches and reads one file at a time; the same for several items is fetched and read once."""

    def __init__(self, contents: Contents, s3: "S3Client", max_bytes: int, long: bool) -> None:
        self._contents = contents
        self._s3 = s3
        self._max_bytes = max_bytes
        self._seconds = LONG_SECONDS if long else ORDINARY_SECONDS
        self._fetched: tuple[str, _File] | None = None
        self._read: tuple[str, ParsedDocument] | None = None

    def fetch(self, item: Item) -> _File:
        if self._fetched is None or self._fetched[0] != item.document_id:
            self._fetched = (item.document_id, self._download(item))
            self._read = None
        return self._fetched[1]

    def read(self, item: Item, file: _File) -> ParsedDocument:
        if self._read is None or self._read[0] != item.document_id:
            name = naming.name_of(item.key)
            parsed = self._contents.read(file.data, name, file.media_type, seconds=self._seconds)
            self._read = (item.document_id, parsed)
        return self._read[1]

    def _download(self, item: Item) -> _File:
        try:
            answer = self._s3.get_object(Bucket=item.bucket, Key=item.key)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "404", "NoSuchVersion"):
                raise _Gone from None
            if error.response["Error"]["Code"] in ("AccessDenied", "403"):
                raise DocumentRefused(
                    f"LISA may not read the bucket {item.bucket}: an administrator has to allow it.",
                    code="denied",
                ) from None
            raise
        if answer["ContentLength"] > self._max_bytes:
            raise DocumentRefused(
                f"The file has {answer['ContentLength']:,} bytes; {self._max_bytes:,} are taken at most.",
                code="too_large",
            )
        data = answer["Body"].read()
        return _File(
            data,
            answer.get("ContentType", ""),
            hashlib.sha256(data).hexdigest(),
            answer["ETag"].strip('"'),
            len(data),
        )


def _to_parse(item: Item) -> bool:
    return item.is_open and item.action in (Action.INGEST, Action.FEED) and not item.parts


def _same(item: Item, kept: Kept) -> bool:
    """Whether what is in the index is what would be put into it."""
    document = kept.document
    return (
        item.action is Action.INGEST
        and item.generation in kept.generations
        and document.content_hash == item.content_hash
        and document.chunking == item.chunking
        and naming.split_source(document.source) == (item.bucket, item.key)
    )
