"""Which version of a document counts: one record for each document, changed in one piece and only by comparison.

A search takes the record and the chunks from one state of the index. In it a chunk counts unless its version is
among those that a record hides: those being written, and those being cleared away.
"""

import hashlib
import time
import uuid
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace

from opensearchpy import OpenSearch

from lisa.rag.vectors.opensearch import client as calls
from lisa.rag.vectors.opensearch.client import Json
from lisa.rag.vectors.opensearch.schema import door

LEASE_SECONDS = 1200
"""Nobody writes to a version that is older: no function runs longer than 15 minutes."""


@dataclass(frozen=True, slots=True)
class Record:
    """`version` names the chunks that count, `count` their number; empty where the document is not there.

    The chunks of `writing` and of `retired` versions do not count: the former are being written, or were when
    whoever wrote them broke off; the latter counted once and are to be deleted.
    """

    sequencer: str = ""
    version: str = ""
    count: int = 0
    removed: bool = False
    writing: tuple[str, ...] = ()
    retired: tuple[str, ...] = ()

    @property
    def hidden(self) -> tuple[str, ...]:
        return self.writing + self.retired

    @property
    def over(self) -> frozenset[str]:
        """Versions whose chunks nobody needs and nobody writes."""
        return frozenset((*self.retired, *(version for version in self.writing if expired(version))))

    def with_attempt(self, version: str) -> "Record":
        return replace(self, writing=(*self.writing, version))

    def without(self, versions: Collection[str]) -> "Record":
        return replace(
            self,
            writing=tuple(each for each in self.writing if each not in versions),
            retired=tuple(each for each in self.retired if each not in versions),
        )

    def counting(self, sequencer: str, version: str, count: int) -> "Record":
        """After an attempt has ended well."""
        return replace(
            self._retire().without({version}),
            sequencer=sequencer,
            version=version,
            count=count,
            removed=False,
        )

    def removing(self, sequencer: str) -> "Record":
        return replace(self._retire(), sequencer=sequencer, version="", count=0, removed=True)

    def refuses(self, sequencer: str) -> bool:
        """Whether a version is older than what is known here."""
        return self.sequencer > sequencer or (self.removed and self.sequencer == sequencer)

    def _retire(self) -> "Record":
        return replace(self, retired=(*self.retired, self.version)) if self.version else self


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record was read: it is written only if nobody else has written since. None before the first time."""

    sequence: int
    term: int


def new_version() -> str:
    """A name for one attempt to write a version, which tells its age."""
    return f"{time.time_ns() // 1_000_000:013d}.{uuid.uuid4().hex}"


def expired(version: str) -> bool:
    return time.time() - int(version[:13]) / 1000 > LEASE_SECONDS


def key_of(document_id: str) -> str:
    """Ids are of any length and any characters."""
    return hashlib.sha256(document_id.encode(errors="surrogatepass")).hexdigest()


def load(client: OpenSearch, name: str, document_id: str) -> tuple[Record, Place | None]:
    """The record as it is now, searchable or not.

    Raises:
        Missing: there is no such index.
    """
    found = calls.read(lambda: client.mget(body={"ids": [key_of(document_id)]}, index=door(name)))["docs"][0]
    if "error" in found:
        raise calls.Missing(str(found["error"].get("reason")))
    if not found["found"]:
        return Record(), None
    return from_source(found["_source"]), Place(found["_seq_no"], found["_primary_term"])


def save(
    client: OpenSearch,
    name: str,
    document_id: str,
    record: Record,
    place: Place | None,
    *,
    shown: bool = False,
) -> Place | None:
    """Where it lies now; None, and nothing changed, when somebody else was quicker.

    `shown` comes back when searches see it, and all that was written before: within `schema.SHOWN_AFTER`.
    """
    options: Json = {"require_alias": "true", "refresh": "wait_for" if shown else "false"}
    if place is None:
        options["op_type"] = "create"
    else:
        options |= {"if_seq_no": place.sequence, "if_primary_term": place.term}
    key = key_of(document_id)
    source = {
        **asdict(record),
        "document": key,
        "ordinal": -1,
        "current": record.version,
        "live": bool(record.version),
        "hidden": record.hidden,
    }
    del source["version"]  # which is a chunk's field
    try:
        answer = calls.write(lambda: client.index(index=door(name), id=key, body=source, params=options))
    except calls.Conflicting:
        return None
    return Place(answer["_seq_no"], answer["_primary_term"])


def from_source(source: Json) -> Record:
    return Record(
        sequencer=source["sequencer"],
        version=source["current"],
        count=source["count"],
        removed=source["removed"],
        writing=tuple(source["writing"]),
        retired=tuple(source["retired"]),
    )


def is_record(source: Json) -> bool:
    return "current" in source
