"""Rows of chunks and documents, and what they stand for."""

from collections.abc import Sequence
from typing import Any

from lisa.rag.vectors.base import Chunk, Hit, StoredDocument

CHUNK = "c.ordinal, c.page, c.first_character, c.last_character, c.heading, c.text"
HIT = f"{CHUNK}, d.id, d.name, d.source, d.owner, d.media_type, d.uploaded_at, d.sequencer, d.tags, d.attributes"
_CHUNK_COLUMNS = 6


def chunk(row: Sequence[Any]) -> Chunk:
    ordinal, page, start, end, heading, text = row
    return Chunk(ordinal=ordinal, text=text, start=start, end=end, heading=tuple(heading), page=page)


def hit(row: Sequence[Any], score: float) -> Hit:
    """From the columns `HIT`."""
    id_, name, source, owner, media_type, uploaded_at, sequencer, tags, attributes = row[_CHUNK_COLUMNS:]
    document = StoredDocument(
        id=id_,
        name=name,
        source=source,
        owner=owner,
        media_type=media_type,
        uploaded_at=uploaded_at,
        sequencer=sequencer,
        tags=tuple(tags),
        attributes=attributes,
    )
    return Hit(document, chunk(row[:_CHUNK_COLUMNS]), score)
