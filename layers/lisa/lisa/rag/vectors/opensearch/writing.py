"""Putting versions of documents into an index and taking them out.

1. the record hides a new version; 2. its chunks are written; 3. one write of the record lets it count and hides the
one before; 4. that one's chunks are deleted; 5. the record forgets it. Each is safe to break off after: what is
hidden does not count, and the next call on the document clears it away (an attempt that may still be at work not
before its lease is over).
"""

import json
import math
from collections.abc import Collection, Iterable
from contextlib import suppress

from opensearchpy import OpenSearch

from lisa.errors import InvalidRequest, LisaError, Unavailable
from lisa.rag.vectors.base import EmbeddedChunk, Index, StoredDocument, Vector
from lisa.rag.vectors.opensearch import client as calls
from lisa.rag.vectors.opensearch import records
from lisa.rag.vectors.opensearch.client import Json
from lisa.rag.vectors.opensearch.filters import facts, storable
from lisa.rag.vectors.opensearch.records import Place, Record, key_of
from lisa.rag.vectors.opensearch.schema import door

BATCH_CHUNKS = 500
BATCH_BYTES = 4_000_000  # the smallest domains take bodies of 10 MiB
CONFLICTS = 20


class Superseded(Exception):
    """A newer version is there, or what was copied is not there any more."""


class Writer:
    """Writes to one document of an index."""

    def __init__(self, client: OpenSearch, name: str, index: Index, document_id: str) -> None:
        self._client = client
        self._name = name
        self._index = index
        self._id = document_id

    def replace(
        self, document: StoredDocument, chunks: Iterable[EmbeddedChunk], *, copied: str | None = None
    ) -> bool:
        """False when a newer version is there, or `copied` is not the version that counts any more."""
        version = records.new_version()
        try:
            announced = self._announce(version, document.sequencer)
        except Superseded:
            return False
        written: list[str] = []
        try:
            self._write(document, version, chunks, written)
            record, place = self._let_count(announced, document.sequencer, version, len(written), copied)
        except BaseException as error:
            # Best effort: hidden as it is, it does no harm until the next call finds it.
            with suppress(LisaError):
                self._abandon(version, written)
            if isinstance(error, Superseded):
                return False
            raise
        self._clear(record, place)
        return True

    def remove(self, sequencer: str) -> bool:
        for _ in range(CONFLICTS):
            record, place = self.load()
            if record.sequencer > sequencer:
                return False
            removed = record.removing(sequencer)
            saved = self._save(removed, place, shown=True)
            if saved is not None:
                self._clear(removed, saved)
                return True
        raise _busy()

    def load(self) -> tuple[Record, Place | None]:
        return records.load(self._client, self._name, self._id)

    def refresh(self) -> None:
        """Shows what was written to searches."""
        calls.write(lambda: self._client.indices.refresh(index=door(self._name)))

    def clear(self) -> None:
        """Clears away what earlier calls left."""
        record, place = self.load()
        if place is not None:
            self._clear(record, place)

    def _announce(self, version: str, sequencer: str) -> tuple[Record, Place | None]:
        for _ in range(CONFLICTS):
            record, place = self.load()
            if record.refuses(sequencer):
                raise Superseded
            announced = record.with_attempt(version)
            saved = self._save(announced, place)
            if saved is not None:
                return announced, saved
        raise _busy()

    def _let_count(
        self,
        announced: tuple[Record, Place | None],
        sequencer: str,
        version: str,
        count: int,
        copied: str | None,
    ) -> tuple[Record, Place]:
        """`announced` is the record as it was left: read again only if somebody else has changed it since."""
        record, place = announced
        for _ in range(CONFLICTS):
            if record.refuses(sequencer) or (copied is not None and record.version != copied):
                raise Superseded
            if version not in record.writing:
                raise Unavailable("This took so long that it was given up. Try again.", retry_after=5)
            counted = record.counting(sequencer, version, count)
            saved = self._save(counted, place, shown=True)
            if saved is not None:
                return counted, saved
            record, place = self.load()
        raise _busy()

    def _write(
        self, document: StoredDocument, version: str, chunks: Iterable[EmbeddedChunk], written: list[str]
    ) -> None:
        lines: list[str] = []
        size = 0
        for embedded in chunks:
            key = f"{version}.{embedded.chunk.ordinal}"
            written.append(key)
            text = _line(self._index, document, version, embedded)
            lines += [f'{{"create":{{"_id":"{key}"}}}}', text]
            size += len(text)
            if size > BATCH_BYTES or len(lines) >= 2 * BATCH_CHUNKS:
                self._bulk(lines)
                lines, size = [], 0
            if records.expired(version):
                raise Unavailable("This took so long that it was given up. Try again.", retry_after=5)
        self._bulk(lines)

    def _bulk(self, lines: list[str]) -> None:
        if not lines:
            return
        body = "\n".join(lines) + "\n"
        answer = calls.write(
            lambda: self._client.bulk(body=body, index=door(self._name), params={"require_alias": "true"})
        )
        if not answer["errors"]:
            return
        for item in answer["items"]:
            (result,) = item.values()
            if "error" not in result:
                continue
            if result["status"] == 404:
                raise calls.Missing(str(result["error"].get("reason")))
            if result["status"] == 409:
                raise InvalidRequest(f"The document {self._id!r} has two chunks of one ordinal.")
            raise calls.refusal(result["status"], result["error"])

    def _abandon(self, version: str, written: list[str]) -> None:
        """We alone write to this version, and have ended."""
        for start in range(0, len(written), BATCH_CHUNKS):
            lines = [f'{{"delete":{{"_id":"{key}"}}}}' for key in written[start : start + BATCH_CHUNKS]]
            body = "\n".join(lines) + "\n"
            calls.write(lambda body=body: self._client.bulk(body=body, index=door(self._name)))  # type: ignore[misc]
        self._forget({version})

    def _clear(self, record: Record, place: Place) -> None:
        """Deletes chunks that do not count; those of attempts that may still be at work stay, hidden."""
        over = record.over
        if not over:
            return
        query = {"query": {"terms": {"version": sorted(over)}}}
        answer = calls.write(
            lambda: self._client.delete_by_query(
                index=door(self._name), body=query, params={"conflicts": "proceed", "refresh": "false"}
            )
        )
        if answer["failures"] or answer["version_conflicts"]:
            return  # hidden, and cleared by the next call
        if self._save(record.without(over), place) is None:
            self._forget(over)

    def _forget(self, versions: Collection[str]) -> None:
        for _ in range(CONFLICTS):
            record, place = self.load()
            left = record.without(versions)
            if left == record or self._save(left, place) is not None:
                return

    def _save(self, record: Record, place: Place | None, *, shown: bool = False) -> Place | None:
        return records.save(self._client, self._name, self._id, record, place, shown=shown)


def _busy() -> Unavailable:
    return Unavailable("Others are changing the same document. Try again.", retry_after=1)


def _line(index: Index, document: StoredDocument, version: str, embedded: EmbeddedChunk) -> str:
    """A chunk as OpenSearch gets it, on one line."""
    chunk = embedded.chunk
    source: Json = {
        "document": key_of(document.id),
        "version": version,
        "ordinal": chunk.ordinal,
        "content": storable("\n".join((*chunk.heading, chunk.text))),
        "facts": facts(document, chunk),
        "chunk": {
            "text": storable(chunk.text),
            "start": chunk.start,
            "end": chunk.end,
            "heading": [storable(part) for part in chunk.heading],
            "page": chunk.page,
        },
        "of": {
            "id": document.id,
            "name": document.name,
            "source": document.source,
            "owner": document.owner,
            "media_type": document.media_type,
            "uploaded_at": document.uploaded_at,
            "sequencer": document.sequencer,
            "tags": document.tags,
            "attributes": dict(document.attributes),
        },
    }
    # Nine digits say all of a float of 32 bits.
    numbers = ",".join(map("{:.9g}".format, vector_of(index, embedded.vector)))
    return f'{json.dumps(source)[:-1]}, "vector": [{numbers}]}}'


def vector_of(index: Index, vector: Vector) -> list[float]:
    """The vector's numbers.

    Raises:
        InvalidRequest: it has another number of dimensions, no direction, or what is no number.
    """
    if len(vector) != index.dimensions:
        raise InvalidRequest(
            f"The vector has {len(vector)} dimensions, those of the collection have {index.dimensions}.",
            field="vector",
        )
    numbers = [float(number) for number in vector]
    if not all(map(math.isfinite, numbers)):
        raise InvalidRequest("The vector holds what is no finite number.", field="vector")
    if not any(numbers):
        raise InvalidRequest("The vector is zero: it is near to nothing.", field="vector")
    return numbers
