"""OpenAI's routes, each with what answers it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lisa.errors import InvalidRequest, NotFound
from lisa.identity.principal import Principal
from lisa.rag.documents.service import DocumentService
from lisa.rag.documents.stores import Stores
from lisa.rag.documents.uploads import Uploads
from lisa.rag.openai.batches import BatchService
from lisa.rag.openai.file_store import FileStore
from lisa.rag.openai.files import FileService
from lisa.rag.openai.paging import PageRequest, list_document
from lisa.rag.openai.schema import (
    AttachFile,
    CreateBatch,
    CreateVectorStore,
    NewFile,
    UpdateFile,
    UpdateVectorStore,
    attributes_of,
)
from lisa.rag.openai.store_files import STATUSES, StoreFile, StoreFiles
from lisa.rag.openai.vector_stores import Entry, VectorStoreService
from lisa.rag.repositories.collections import CollectionService
from lisa.rag.repositories.lookup import Lookup

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

_STORE = "/vector_stores/{vectorStoreId}"
_FILES = f"{_STORE}/files"
_BATCHES = f"{_STORE}/file_batches"


@dataclass(frozen=True, slots=True)
class Call:
    """A call whose caller has been verified: a route's template with what its parts and its query say."""

    principal: Principal
    method: str
    route: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Mapping[str, Any]

    @property
    def file(self) -> str:
        return self.path["fileId"]

    @property
    def store(self) -> str:
        return self.path["vectorStoreId"]

    @property
    def batch(self) -> str:
        return self.path["batchId"]


Operation = Callable[[Call], dict[str, Any]]


class OpenAIInterface:
    """`answer` raises LisaError and pydantic's ValidationError for what is wrong with a call."""

    def __init__(
        self, files: FileService, stores: VectorStoreService, store_files: StoreFiles, batches: BatchService
    ) -> None:
        self._files = files
        self._stores = stores
        self._store_files = store_files
        self._batches = batches
        self._operations: dict[tuple[str, str], Operation] = {
            ("POST", "/files"): lambda call: files.create(call.principal, NewFile.model_validate(call.body)),
            ("GET", "/files"): lambda call: files.listed(call.principal, call.query),
            ("GET", "/files/{fileId}"): lambda call: files.get(call.principal, call.file),
            ("GET", "/files/{fileId}/content"): lambda call: files.content(call.principal, call.file),
            ("DELETE", "/files/{fileId}"): lambda call: files.delete(call.principal, call.file),
            ("POST", "/vector_stores"): self._create,
            ("GET", "/vector_stores"): lambda call: stores.listed(call.principal, call.query),
            ("GET", _STORE): lambda call: stores.get(call.principal, call.store),
            ("POST", _STORE): lambda call: stores.update(
                call.principal, call.store, UpdateVectorStore.model_validate(call.body)
            ),
            ("DELETE", _STORE): lambda call: stores.delete(call.principal, call.store),
            ("POST", _FILES): self._attach,
            ("GET", _FILES): self._list_files,
            ("GET", f"{_FILES}/{{fileId}}"): lambda call: store_files.get(
                self._entry(call), call.file
            ).document(),
            ("POST", f"{_FILES}/{{fileId}}"): self._update_file,
            ("DELETE", f"{_FILES}/{{fileId}}"): lambda call: store_files.detach(
                call.principal, self._entry(call), call.file
            ),
            ("GET", f"{_FILES}/{{fileId}}/content"): self._locate,
            ("POST", _BATCHES): lambda call: batches.create(
                call.principal, self._entry(call), CreateBatch.model_validate(call.body).attachments()
            ),
            ("GET", f"{_BATCHES}/{{batchId}}"): lambda call: batches.get(self._entry(call), call.batch),
            ("POST", f"{_BATCHES}/{{batchId}}/cancel"): lambda call: batches.cancel(
                call.principal, self._entry(call), call.batch
            ),
            ("GET", f"{_BATCHES}/{{batchId}}/files"): self._list_batch,
        }

    @property
    def routes(self) -> set[tuple[str, str]]:
        return set(self._operations)

    def answer(self, call: Call) -> dict[str, Any]:
        operation = self._operations.get((call.method, call.route))
        if operation is None:
            raise NotFound("There is no such route.")
        return operation(call)

    def _entry(self, call: Call) -> Entry:
        return self._stores.entry(call.principal, call.store)

    def _create(self, call: Call) -> dict[str, Any]:
        wanted = CreateVectorStore.model_validate(call.body)
        made = self._stores.create(call.principal, wanted)
        if not wanted.file_ids:
            return made
        entry = self._stores.entry(call.principal, made["id"])
        files = [AttachFile(file_id=each) for each in dict.fromkeys(wanted.file_ids)]
        try:
            self._store_files.attach(call.principal, entry, files)
        except NotFound:
            self._stores.delete(call.principal, entry.id)  # all or nothing
            raise
        return self._stores.get(call.principal, entry.id)

    def _attach(self, call: Call) -> dict[str, Any]:
        wanted = AttachFile.model_validate(call.body)
        return self._store_files.attach(call.principal, self._entry(call), [wanted])[0].document()

    def _list_files(self, call: Call) -> dict[str, Any]:
        asked, status = PageRequest.of(call.query), _status(call.query)
        return _list(*self._store_files.listed(self._entry(call), asked, status))

    def _list_batch(self, call: Call) -> dict[str, Any]:
        asked, status = PageRequest.of(call.query), _status(call.query)
        return _list(*self._batches.listed(self._entry(call), call.batch, asked, status))

    def _update_file(self, call: Call) -> dict[str, Any]:
        wanted = attributes_of(UpdateFile.model_validate(call.body).attributes)
        return self._store_files.update(call.principal, self._entry(call), call.file, wanted).document()

    def _locate(self, call: Call) -> dict[str, Any]:
        """Which document's text is wanted: the function that searches has it."""
        entry = self._entry(call)
        found = self._store_files.get(entry, call.file)
        if found.status != "completed":
            raise InvalidRequest(
                f"The file is {found.status}: its text is there when it is completed.", code="file_not_ready"
            )
        return {
            "repositoryId": entry.repository.id,
            "collectionId": entry.collection.id,
            "documentId": found.document_id,
        }


def interface_of(
    table: str,
    client: "DynamoDBClient",
    *,
    lookup: Lookup,
    collections: CollectionService,
    documents: DocumentService,
    stores: Stores,
    uploads: Uploads,
) -> OpenAIInterface:
    """The interface over the services that `/api/repository` has, too. `table` is that of documents."""
    kept = FileStore(table, client)
    store_files = StoreFiles(kept, documents, stores, uploads.bucket)
    return OpenAIInterface(
        FileService(kept, documents, stores.documents, uploads),
        VectorStoreService(lookup, collections, documents, uploads.bucket),
        store_files,
        BatchService(kept, store_files),
    )


def _status(query: Mapping[str, str]) -> str | None:
    wanted = query.get("filter") or None
    if wanted is not None and wanted not in STATUSES:
        raise InvalidRequest(f"filter must be one of {', '.join(STATUSES)}.", field="filter")
    return wanted


def _list(found: list[StoreFile], more: bool) -> dict[str, Any]:
    return list_document([each.document() for each in found], more)
