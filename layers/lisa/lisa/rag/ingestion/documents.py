"""The document that an item becomes, the same for the store of chunks and for the table."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lisa.rag.documents import naming
from lisa.rag.documents.objects import ObjectState
from lisa.rag.documents.store import Kept
from lisa.rag.documents.stores import Stores
from lisa.rag.ingestion.items import Action, Item
from lisa.rag.ingestion.places import Places
from lisa.rag.records import Document, IngestionType
from lisa.rag.vectors.base import StoredDocument


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the documents of a batch, as read at one moment."""

    states: Mapping[str, ObjectState]
    kept: Mapping[str, Kept]

    @classmethod
    def read(cls, stores: Stores, items: Iterable[Item]) -> "Known":
        ids = {item.document_id for item in items}
        return cls(stores.objects.states(ids), stores.documents.kept(ids))


def document_of(item: Item, known: Known, places: Places) -> Document | None:
    """None for a document that is gone meanwhile."""
    kept, state = known.kept.get(item.document_id), known.states.get(item.document_id)
    if item.action in (Action.FEED, Action.RETAG):
        return kept.document if kept else None
    if state is None:
        return None
    pipeline = places.pipeline(item.pipeline) if item.pipeline else None
    collection = places.collection(item.repository_id, item.collection_id)
    wishes = state.wishes
    tags = (*(collection.tags if collection else ()), *(pipeline.tags if pipeline else ()), *wishes.tags)
    manual = bool(wishes.owner)
    automatic = IngestionType.EXISTING if item.existing else IngestionType.AUTO
    return Document(
        id=item.document_id,
        repository_id=item.repository_id,
        collection_id=item.collection_id,
        name=wishes.name or naming.name_of(item.key),
        source=naming.source(item.bucket, item.key),
        owner=wishes.owner,
        chunking=item.chunking,
        ingestion_type=IngestionType.MANUAL if manual else automatic,
        uploaded_at=item.at,
        chunks=item.chunks,
        bytes=item.size,
        sequencer=item.sequencer,
        content_hash=item.content_hash,
        media_type=item.media_type,
        tags=tuple(dict.fromkeys(tags)),
        attributes={**(pipeline.attributes if pipeline else {}), **wishes.attributes},
        notes=item.notes,
    )


def stored(document: Document) -> StoredDocument:
    return StoredDocument(
        id=document.id,
        name=document.name,
        source=document.source,
        owner=document.owner,
        media_type=document.media_type,
        uploaded_at=document.uploaded_at,
        sequencer=document.sequencer,
        tags=document.tags,
        attributes=document.attributes,
    )
