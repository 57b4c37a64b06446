"""Documents and changes of objects, as tests want them."""

from typing import Any

from lisa.rag.documents import naming
from lisa.rag.documents.objects import Change, Kind
from lisa.rag.records import Chunking, Document, IngestionType

KEY = "library/c-1/a.txt"


def change(sequencer: str = "01", kind: Kind = Kind.CREATED, *, key: str = KEY, **fields: Any) -> Change:
    return Change(
        **{
            "document_id": naming.document_id("drop", key),
            "repository_id": "library",
            "collection_id": "c-1",
            "bucket": "drop",
            "key": key,
            "sequencer": naming.sequencer(sequencer),
            "kind": kind,
            **fields,
        }
    )


def document(key: str = KEY, **fields: Any) -> Document:
    return Document(
        **{
            "id": naming.document_id("drop", key),
            "repository_id": "library",
            "collection_id": "c-1",
            "name": naming.name_of(key),
            "source": naming.source("drop", key),
            "owner": "ann",
            "chunking": Chunking(),
            "ingestion_type": IngestionType.MANUAL,
            "uploaded_at": 1_700_000_000_000,
            "chunks": 2,
            "bytes": 10,
            "sequencer": naming.sequencer("01"),
            "content_hash": "abc",
            "media_type": "text/plain",
            **fields,
        }
    )
