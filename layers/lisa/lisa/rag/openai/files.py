"""`/v1/files`: what people have uploaded. A file belongs to who uploaded it; others do not see it.

A document that came by another way is a file too, for those who see its collection: a citation may name it.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

from lisa.errors import InvalidRequest, NotFound
from lisa.identity.principal import Principal
from lisa.rag.documents import naming
from lisa.rag.documents.service import DocumentService
from lisa.rag.documents.store import DocumentStore
from lisa.rag.documents.uploads import Uploads
from lisa.rag.openai import ids
from lisa.rag.openai.file_store import File, FileStore
from lisa.rag.openai.paging import PageRequest, list_document, page_of
from lisa.rag.openai.placing import drop_path, file_id_of, file_key
from lisa.rag.openai.schema import NewFile
from lisa.rag.records import Document

MAX_LIMIT = 10_000


class FileService:
    def __init__(
        self,
        files: FileStore,
        documents: DocumentService,
        document_store: DocumentStore,
        uploads: Uploads,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._files = files
        self._documents = documents
        self._document_store = document_store
        self._uploads = uploads
        self._clock = clock

    def create(self, principal: Principal, new: NewFile) -> dict[str, Any]:
        """Keeps a file whose bytes are in their place. Raises InvalidRequest for what the gateway would not send."""
        if not ids.is_file_id(new.id):
            raise InvalidRequest("The id is none of a file.", field="id")
        file = File(
            id=new.id,
            owner=principal.user,
            filename=naming.file_name(new.filename),
            bytes=new.bytes,
            purpose=new.purpose,
            created_at=int(self._clock() * 1000),
        )
        self._files.put(file)
        return file_document(file)

    def listed(self, principal: Principal, query: Mapping[str, str]) -> dict[str, Any]:
        """The caller's own. Raises InvalidRequest for a page that cannot be."""
        asked = PageRequest.of(query, default=MAX_LIMIT, most=MAX_LIMIT)
        purpose = query.get("purpose")
        own = [
            each for each in self._files.of_owner(principal.user) if not purpose or each.purpose == purpose
        ]
        found, more = page_of(own, asked, ids.no_file)
        return list_document([file_document(each) for each in found], more)

    def get(self, principal: Principal, file_id: str) -> dict[str, Any]:
        """Raises NotFound also for somebody else's."""
        found = self._found(principal, file_id)
        return file_document(found) if isinstance(found, File) else _document_as_file(found)

    def content(self, principal: Principal, file_id: str) -> dict[str, Any]:
        """Where the bytes are, for the gateway. Raises NotFound as `get` does, or when they lie in another bucket."""
        found = self._found(principal, file_id)
        if isinstance(found, File):
            return {"filename": found.filename, "key": file_key(found.owner, found.id, found.filename)}
        bucket, key = naming.split_source(found.source)
        if bucket != self._uploads.bucket:
            raise NotFound(
                "The file lies in a bucket of its own: download it by GET "
                f"/api/repository/{found.repository_id}/{found.id}/download.",
                code="file_elsewhere",
            )
        return {"filename": found.name, "key": key}

    def delete(self, principal: Principal, file_id: str) -> dict[str, Any]:
        """Removes a file, and what was made of it from every vector store that it was put into.

        Raises NotFound as `get` does, Forbidden for a document of somebody else.
        """
        found = self._found(principal, file_id)
        if isinstance(found, Document):
            self._documents.delete(principal, found.repository_id, [found.id])
        else:
            for store_id in found.stores:
                self._take_out(principal, found, store_id)
            self._uploads.delete(file_key(found.owner, found.id, found.filename))
            self._files.delete(found.id)
        return {"id": file_id, "object": "file", "deleted": True}

    def _take_out(self, principal: Principal, file: File, store_id: str) -> None:
        repository_id, collection_id = ids.collection_of(store_id)
        key = naming.drop_key(repository_id, collection_id, file.owner, drop_path(file.id, file.filename))
        document_id = naming.document_id(self._uploads.bucket, key)
        try:
            self._documents.delete(principal, repository_id, [document_id])
        except NotFound:
            return  # taken out before, or the vector store is gone

    def _found(self, principal: Principal, file_id: str) -> File | Document:
        if not ids.is_file_id(file_id):
            raise ids.no_file(file_id)
        file = self._files.get(file_id)
        if file is not None:
            if file.owner != principal.user and not principal.is_admin:
                raise ids.no_file(file_id)
            return file
        known = self._document_store.get(ids.document_of_file_id(file_id))
        if known is None or _file_id(known) != file_id:
            raise ids.no_file(file_id)
        try:
            return self._documents.get(principal, known.repository_id, known.id)
        except NotFound:
            raise ids.no_file(file_id) from None


def file_document(file: File) -> dict[str, Any]:
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": file.created_at // 1000,
        "expires_at": None,
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
        "status_details": None,
    }


def _document_as_file(document: Document) -> dict[str, Any]:
    file_id = _file_id(document)
    return file_document(
        File(file_id, document.owner, document.name, document.bytes, "assistants", document.uploaded_at)
    )


def _file_id(document: Document) -> str:
    return file_id_of(
        repository_id=document.repository_id,
        collection_id=document.collection_id,
        document_id=document.id,
        source=document.source,
        owner=document.owner,
    )
