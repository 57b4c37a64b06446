"""What ingestion speaks to, kept in memory: a store of chunks, an embedding model, readers of text."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from lisa.errors import InvalidRequest, NotFound, Unavailable
from lisa.rag.parsing import DocumentRefused, ParsedDocument
from lisa.rag.records import Chunking
from lisa.rag.vectors.base import (
    Arms,
    Chunk,
    EmbeddedChunk,
    Index,
    Query,
    Reader,
    Size,
    StoredDocument,
    Visibility,
)


class Crash(BaseException):
    """The process is gone: nothing catches it but who starts the next one."""


class Chaos:
    """Ends the process at the n-th effect on the outside: before it happens or, in the next run, after it did."""

    def __init__(self) -> None:
        self.count = 0
        self.at: int | None = None
        self.after = False

    def wrap(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def _call(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            due = self.count == self.at
            if due and not self.after:
                raise Crash
            answer = call(*args, **kwargs)
            if due:
                raise Crash
            return answer

        return _call


class Wrapped:
    """A client whose writes may be the last thing that a process does."""

    def __init__(self, client: Any, chaos: Chaos, verbs: Iterable[str]) -> None:
        self._client = client
        self._chaos = chaos
        self._verbs = frozenset(verbs)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        return self._chaos.wrap(found) if name in self._verbs else found


class MemoryStore:
    """`VectorStore` as it promises to be (lisa.rag.vectors.base)."""

    def __init__(self) -> None:
        self.indices: dict[Index, dict[str, tuple[StoredDocument, list[EmbeddedChunk]]]] = {}
        self.removed: dict[tuple[Index, str], str] = {}
        self.away = False
        self.visibilities: dict[Index, Visibility] = {}
        self.writers = 1
        self.held: list[bool] = []  # whether a document's chunks came all at once
        self.writing: Callable[[], object] = lambda: None

    def create(self, index: Index, visibility: Visibility) -> None:
        self._there()
        self.indices.setdefault(index, {})
        self.visibilities[index] = visibility

    def set_visibility(self, index: Index, visibility: Visibility) -> None:
        self.visibilities[index] = visibility

    def drop(self, index: Index) -> None:
        self._there()
        self.indices.pop(index, None)

    def replace(self, index: Index, document: StoredDocument, chunks: Iterable[EmbeddedChunk]) -> bool:
        documents = self._index(index)
        self.writing()
        self.held.append(isinstance(chunks, list))
        found = list(chunks)
        if any(len(each.vector) != index.dimensions for each in found):
            raise InvalidRequest("a vector of the wrong length")
        if self._newer(index, document.id, document.sequencer):
            return False
        documents[document.id] = (document, found)
        return True

    def retag(self, index: Index, document: StoredDocument) -> bool:
        documents = self._index(index)
        there = documents.get(document.id)
        if there is None or there[0].sequencer > document.sequencer:
            return False
        documents[document.id] = (document, there[1])
        return True

    def remove(self, index: Index, document_id: str, sequencer: str) -> bool:
        documents = self._index(index)
        if self._newer(index, document_id, sequencer):
            return False
        documents.pop(document_id, None)
        self.removed[index, document_id] = sequencer
        return True

    def search(self, index: Index, query: Query, reader: Reader) -> Arms:
        raise NotImplementedError("ingestion does not search")

    def chunks(self, index: Index, document_id: str, *, after: int = -1, limit: int = 100) -> list[Chunk]:
        there = self._index(index).get(document_id)
        return [each.chunk for each in there[1] if each.chunk.ordinal > after][:limit] if there else []

    def size(self, index: Index) -> Size:
        documents = self._index(index)
        return Size(len(documents), sum(len(each[1]) for each in documents.values()), 0)

    def _index(self, index: Index) -> dict[str, tuple[StoredDocument, list[EmbeddedChunk]]]:
        self._there()
        if index not in self.indices:
            raise NotFound("no such index")
        return self.indices[index]

    def _newer(self, index: Index, document_id: str, sequencer: str) -> bool:
        there = self.indices[index].get(document_id)
        if there is not None and there[0].sequencer > sequencer:
            return True
        return self.removed.get((index, document_id), "") > sequencer

    def _there(self) -> None:
        if self.away:
            raise Unavailable("The store sleeps.")


class Model:
    """An embedding model: a text's length and a constant. Counts what it is asked."""

    def __init__(self, dimensions: int = 4) -> None:
        self.dimensions = dimensions
        self.asked: list[str] = []
        self.away = False
        self.gone = False

    def embed(self, model: str, texts: Sequence[str]) -> Any:
        if self.away:
            raise Unavailable("The model does not answer.")
        if self.gone:
            raise NotFound(f"There is no model {model}.")
        if any("REFUSED" in text for text in texts):
            raise InvalidRequest("a text that no model takes")
        self.asked += texts
        return np.array([[float(len(text))] + [1.0] * (self.dimensions - 1) for text in texts], np.float32)


class Lines:
    """Each line of a text is a chunk. Files that begin with POISON cannot be read, with SLOW take too long."""

    def __init__(self) -> None:
        self.read_files: list[str] = []
        self.notes: tuple[str, ...] = ()

    def read(self, data: bytes, name: str, media_type: str, *, seconds: int) -> ParsedDocument:
        self.read_files.append(name)
        text = data.decode()
        if text.startswith("POISON"):
            raise DocumentRefused("The file is encrypted.", code="encrypted")
        if text.startswith("SLOW") and seconds < 60:
            raise DocumentRefused("It takes too long.", code="too_complex")
        return ParsedDocument(title="", media_type="text/plain", text=text, notes=self.notes)

    def effective(self, chunking: Chunking, model: str) -> Chunking:
        return replace(chunking, size=min(chunking.size, 254))

    def chunks(self, parsed: ParsedDocument, chunking: Chunking, model: str) -> Iterator[tuple[Chunk, str]]:
        start = 0
        for ordinal, line in enumerate(parsed.text.splitlines()):
            yield Chunk(ordinal, line, start, start + len(line)), line
            start += len(line) + 1
