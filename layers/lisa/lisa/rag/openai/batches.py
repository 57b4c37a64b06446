"""Files that were put into a vector store together, and how far they are."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lisa.identity.principal import Principal
from lisa.rag.openai import ids
from lisa.rag.openai.file_store import Batch, FileStore
from lisa.rag.openai.paging import PageRequest, page_of
from lisa.rag.openai.schema import AttachFile
from lisa.rag.openai.store_files import StoreFile, StoreFiles
from lisa.rag.openai.vector_stores import Entry


class BatchService:
    def __init__(
        self, files: FileStore, store_files: StoreFiles, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._files = files
        self._store_files = store_files
        self._clock = clock

    def create(self, principal: Principal, entry: Entry, wanted: Sequence[AttachFile]) -> dict[str, Any]:
        """Raises as StoreFiles.attach does."""
        attached = self._store_files.attach(principal, entry, wanted)
        batch = Batch(
            id=ids.new_batch_id(),
            store_id=entry.id,
            created_at=int(self._clock() * 1000),
            files=tuple(each.id for each in attached),
            documents=tuple(each.document_id for each in attached),
        )
        self._files.put_batch(batch)
        return _document(batch, attached)

    def get(self, entry: Entry, batch_id: str) -> dict[str, Any]:
        """Raises NotFound for a batch that is not of this vector store."""
        batch = self._batch(entry, batch_id)
        return _document(batch, self._members(entry, batch))

    def cancel(self, principal: Principal, entry: Entry, batch_id: str) -> dict[str, Any]:
        """Takes out what is not ingested yet; what is done stays. Raises NotFound."""
        batch = self._batch(entry, batch_id)
        running = [each for each in self._members(entry, batch) if each.status == "in_progress"]
        if running:
            self._store_files.cancel(principal, entry, running)
            self._files.cancel_batch(batch)
            batch = replace(batch, cancelled=True)
        return _document(batch, self._members(entry, batch))

    def listed(
        self, entry: Entry, batch_id: str, asked: PageRequest, status: str | None
    ) -> tuple[list[StoreFile], bool]:
        members = self._members(entry, self._batch(entry, batch_id))
        wanted = [each for each in members if status is None or each.status == status]
        return page_of(wanted, asked, ids.no_file)

    def _batch(self, entry: Entry, batch_id: str) -> Batch:
        batch = self._files.batch(entry.id, batch_id) if ids.is_batch_id(batch_id) else None
        if batch is None:
            raise ids.no_batch(batch_id)
        return batch

    def _members(self, entry: Entry, batch: Batch) -> list[StoreFile]:
        """All files of the batch; those that were taken out since count as cancelled."""
        there: Mapping[str, StoreFile] = self._store_files.several(entry, batch.documents)
        return [
            there.get(file_id) or _gone(batch, file_id, document_id)
            for file_id, document_id in zip(batch.files, batch.documents, strict=True)
        ]


def _gone(batch: Batch, file_id: str, document_id: str) -> StoreFile:
    return StoreFile(
        id=file_id,
        store_id=batch.store_id,
        document_id=document_id,
        created_at=batch.created_at,
        status="cancelled",
        bytes=0,
        attributes={},
        chunking=None,
    )


def _document(batch: Batch, members: Sequence[StoreFile]) -> dict[str, Any]:
    found = Counter(each.status for each in members)
    counts = {name: found[name] for name in ("in_progress", "completed", "failed", "cancelled")}
    if counts["in_progress"]:
        status = "in_progress"
    elif batch.cancelled:
        status = "cancelled"
    else:
        status = "failed" if counts["failed"] == len(members) else "completed"
    return {
        "id": batch.id,
        "object": "vector_store.files_batch",
        "created_at": batch.created_at // 1000,
        "vector_store_id": batch.store_id,
        "status": status,
        "file_counts": counts | {"total": len(members)},
    }
