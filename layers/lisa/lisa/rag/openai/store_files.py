"""The files of a vector store: its documents, and what is on its way to be one or has failed to."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from lisa.errors import Forbidden, NotFound
from lisa.identity.principal import Principal
from lisa.rag.documents import naming
from lisa.rag.documents.objects import Kind, ObjectState
from lisa.rag.documents.service import DocumentService, Upload
from lisa.rag.documents.stores import Stores
from lisa.rag.openai import ids
from lisa.rag.openai.file_store import File, FileStore
from lisa.rag.openai.paging import PageRequest
from lisa.rag.openai.placing import drop_path, file_id_of, file_key
from lisa.rag.openai.schema import AttachFile, attributes_of
from lisa.rag.openai.vector_stores import Entry
from lisa.rag.records import Attribute, Chunking, Document, Job

STATUSES = ("in_progress", "completed", "failed", "cancelled")
PARALLEL = 16
# OpenAI's words for how a file fails, by ours (lisa.rag.parsing); all others are of files that are no good.
_CODES = {
    "unsupported": "unsupported_file",
    "binary": "unsupported_file",
    "server_error": "server_error",
    "unplaced": "server_error",
}
_PAGE = 200


@dataclass(frozen=True, slots=True)
class StoreFile:
    """A file of a vector store. `created_at` is in epoch milliseconds; `reason` and `code` say why it failed."""

    id: str
    store_id: str
    document_id: str
    created_at: int
    status: str
    bytes: int
    attributes: Mapping[str, Attribute]
    chunking: Chunking | None
    reason: str = ""
    code: str = ""

    def document(self) -> dict[str, Any]:
        error = None
        if self.status == "failed":
            code = _CODES.get(self.code, "invalid_file")
            error = {"code": code, "message": self.reason or "The file could not be taken in."}
        return {
            "id": self.id,
            "object": "vector_store.file",
            "created_at": self.created_at // 1000,
            "vector_store_id": self.store_id,
            "status": self.status,
            "last_error": error,
            "usage_bytes": self.bytes,
            "attributes": dict(self.attributes),
            "chunking_strategy": _strategy(self.chunking),
        }


class StoreFiles:
    """`bucket` is the drop folder's."""

    def __init__(self, files: FileStore, documents: DocumentService, stores: Stores, bucket: str) -> None:
        self._files = files
        self._documents = documents
        self._stores = stores
        self._bucket = bucket

    def attach(self, principal: Principal, entry: Entry, wanted: Sequence[AttachFile]) -> list[StoreFile]:
        """Puts the caller's files into a vector store, from where they are ingested.

        Raises NotFound for a file that is not the caller's, before anything is done, Forbidden, InvalidRequest.
        """
        known = self._files.several([each.file_id for each in wanted])
        for each in wanted:
            file = known.get(each.file_id)
            if file is None or file.owner != principal.user:
                raise ids.no_file(each.file_id)
        with ThreadPoolExecutor(PARALLEL) as threads:
            work = lambda each: self._attach(principal, entry, known[each.file_id], each)  # noqa: E731
            return list(threads.map(work, wanted))

    def _attach(self, principal: Principal, entry: Entry, file: File, wanted: AttachFile) -> StoreFile:
        attributes = attributes_of(wanted.attributes)
        chunking = wanted.chunking_strategy.chunking() if wanted.chunking_strategy else None
        # Noted first: a file that is deleted meanwhile must be found wherever it is.
        self._files.note_store(file.id, entry.id)
        upload = Upload(file_key(file.owner, file.id, file.filename), drop_path(file.id, file.filename))
        collection, jobs = self._documents.ingest(
            principal,
            entry.repository.id,
            entry.collection.id,
            [upload],
            chunking=chunking,
            attributes=attributes,
        )
        job = jobs[0]
        return StoreFile(
            id=file.id,
            store_id=entry.id,
            document_id=job.document_id,
            created_at=job.created_at,
            status="in_progress",
            bytes=file.bytes,
            attributes=attributes,
            chunking=job.chunking or collection.chunking,
        )

    def listed(
        self, entry: Entry, asked: PageRequest, status: str | None = None
    ) -> tuple[list[StoreFile], bool]:
        """A page of the files, by when they were first heard of; and whether there is more in its direction."""
        backwards = bool(asked.before)
        cursor = asked.after or asked.before
        after = self._cursor(entry, cursor) if cursor else None
        found: list[StoreFile] = []
        while len(found) <= asked.limit:
            states, after = self._stores.objects.of_collection(
                entry.repository.id,
                entry.collection.id,
                limit=_PAGE,
                after=after,
                newest_first=asked.newest_first is not backwards,
            )
            shown = self._shown(entry, states)
            found += [each for each in shown if status is None or each.status == status]
            if after is None:
                break
        page = found[: asked.limit]
        return (page[::-1] if backwards else page), len(found) > asked.limit

    def get(self, entry: Entry, file_id: str) -> StoreFile:
        """Raises NotFound for a file that is not in this vector store."""
        return self.several(entry, [self.document_id(entry, file_id)]).get(file_id) or _missing(file_id)

    def several(self, entry: Entry, document_ids: Iterable[str]) -> dict[str, StoreFile]:
        """Those of these documents that are files of this vector store, by the files' ids."""
        states = self._stores.objects.states(document_ids).values()
        return {each.id: each for each in self._shown(entry, states)}

    def update(
        self, principal: Principal, entry: Entry, file_id: str, attributes: Mapping[str, Attribute]
    ) -> StoreFile:
        """Replaces a file's attributes; it is not embedded again. Raises NotFound, Forbidden, Conflict."""
        found = self.get(entry, file_id)
        self._documents.set_attributes(principal, entry.repository.id, found.document_id, attributes)
        return self.get(entry, file_id)

    def detach(self, principal: Principal, entry: Entry, file_id: str) -> dict[str, Any]:
        """Takes a file out; the file itself stays. Raises NotFound, or Forbidden for a file of somebody else."""
        found = self.get(entry, file_id)
        self._documents.delete(principal, entry.repository.id, [found.document_id])
        return {"id": file_id, "object": "vector_store.file.deleted", "deleted": True}

    def cancel(self, principal: Principal, entry: Entry, running: Iterable[StoreFile]) -> None:
        """Takes out what is not ingested yet, as far as it is the caller's to take."""

        def take(file: StoreFile) -> None:
            try:
                self._documents.delete(principal, entry.repository.id, [file.document_id])
            except (NotFound, Forbidden):
                return

        with ThreadPoolExecutor(PARALLEL) as threads:
            list(threads.map(take, running))

    def document_id(self, entry: Entry, file_id: str) -> str:
        """The document that a file is in this vector store, whether or not it is there."""
        if not ids.is_file_id(file_id):
            raise ids.no_file(file_id)
        file = self._files.get(file_id)
        if file is None:
            return ids.document_of_file_id(file_id)
        key = naming.drop_key(
            entry.repository.id, entry.collection.id, file.owner, drop_path(file.id, file.filename)
        )
        return naming.document_id(self._bucket, key)

    def _cursor(self, entry: Entry, file_id: str) -> str:
        document_id = self.document_id(entry, file_id)
        place = self._stores.objects.place_in_collection(
            document_id, entry.repository.id, entry.collection.id
        )
        if place is None:
            raise ids.no_file(file_id)
        return place

    def _shown(self, entry: Entry, states: Iterable[ObjectState]) -> list[StoreFile]:
        """What is removed, or about to be, is no file of the vector store any more."""
        here = [
            state
            for state in states
            if state.repository_id == entry.repository.id
            and state.collection_id == entry.collection.id
            and (state.kind is Kind.CREATED or state.expected)
        ]
        jobs = self._stores.jobs.several(_job(state) for state in here if _job(state))
        kept = self._stores.documents.kept(state.document_id for state in here)
        return [
            self._file(
                entry,
                state,
                jobs.get(_job(state)),
                kept[state.document_id].document if state.document_id in kept else None,
            )
            for state in here
        ]

    def _file(
        self, entry: Entry, state: ObjectState, job: Job | None, document: Document | None
    ) -> StoreFile:
        owner = document.owner if document else state.wishes.owner
        running = not state.done or bool(state.expected)
        status = "in_progress" if running else "failed" if state.failed else "completed"
        return StoreFile(
            id=file_id_of(
                repository_id=state.repository_id,
                collection_id=state.collection_id,
                document_id=state.document_id,
                source=naming.source(state.bucket, state.key),
                owner=owner,
            ),
            store_id=entry.id,
            document_id=state.document_id,
            created_at=job.created_at if job else state.since,
            status=status,
            bytes=document.bytes if document else state.size,
            attributes=document.attributes if document and not running else state.wishes.attributes,
            chunking=(document.chunking if document else None) or (job.chunking if job else None),
            reason=job.reason if job else "",
            code=job.code if job else "server_error",
        )


def _job(state: ObjectState) -> str:
    return state.expected or state.job_id


def _missing(file_id: str) -> StoreFile:
    raise ids.no_file(file_id)


def _strategy(chunking: Chunking | None) -> dict[str, Any]:
    if chunking is None or chunking.type != "fixed":
        return {"type": "other"}
    sizes = {"max_chunk_size_tokens": chunking.size, "chunk_overlap_tokens": chunking.overlap}
    return {"type": "static", "static": sizes}
