"""What is in a file: its text, and the chunks that a collection wants of it."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

from lisa.rag import chunking as cutting
from lisa.rag import parsing
from lisa.rag.records import Chunking
from lisa.rag.tokenizing import Tokenizers
from lisa.rag.vectors.base import Chunk


class Contents(Protocol):
    """Reads files. Tests have one of their own where no file is looked into."""

    def read(self, data: bytes, name: str, media_type: str, *, seconds: int) -> parsing.ParsedDocument:
        """Raises DocumentRefused with the reason; its code is `too_complex` when it took longer than `seconds`."""

    def effective(self, chunking: Chunking, model: str) -> Chunking:
        """What a wish for chunks comes to with what the model can read."""

    def chunks(
        self, parsed: parsing.ParsedDocument, chunking: Chunking, model: str
    ) -> Iterator[tuple[Chunk, str]]:
        """Each with the text that is embedded for it: no longer than the model reads."""


class FileContents:
    """`limits` bound what one file may cost, its time aside."""

    def __init__(self, tokenizers: Tokenizers, limits: parsing.Limits) -> None:
        self._tokenizers = tokenizers
        self._limits = limits

    def read(self, data: bytes, name: str, media_type: str, *, seconds: int) -> parsing.ParsedDocument:
        limits = replace(self._limits, seconds=seconds, cpu_seconds=seconds)
        return parsing.parse(data, name, media_type, limits)

    def effective(self, chunking: Chunking, model: str) -> Chunking:
        return cutting.effective(chunking, self._tokenizers.of(model))

    def chunks(
        self, parsed: parsing.ParsedDocument, chunking: Chunking, model: str
    ) -> Iterator[tuple[Chunk, str]]:
        tokenizer = self._tokenizers.of(model)
        for chunk in cutting.chunks(parsed, chunking, tokenizer):
            whole = chunking.type == "none"
            yield chunk, cutting.fitting_text(chunk, tokenizer)[0] if whole else cutting.embedded_text(chunk)
