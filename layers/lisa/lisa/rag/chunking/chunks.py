"""A document's chunks: no longer than the model reads, cut where its sections, paragraphs and sentences end."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

from lisa.rag.chunking.counting import WordCounter
from lisa.rag.chunking.sections import Outline, Section, sections
from lisa.rag.chunking.splitting import cut, stripped
from lisa.rag.parsing import Page, ParsedDocument
from lisa.rag.records import Chunking
from lisa.rag.tokenizing import Tokenizer
from lisa.rag.vectors.base import Chunk

WHOLE = "none"
"""The type of chunking that leaves a document in one piece."""

# Headings take no more of what the model reads than one part of so many.
_HEADING_PART = 4
# A section that is smaller than one part of so many of a chunk goes with the next.
_SMALL_PART = 4
_BATCH = 512
# Line feeds between headings and text are tokens of some tokenizers.
_JOINT_TOKENS = 2


def embedded_text(chunk: Chunk) -> str:
    """What is embedded of a chunk, and what words are looked for in: the headings above it, and its text."""
    return "\n".join((*chunk.heading, chunk.text))


def fitting_text(chunk: Chunk, tokenizer: Tokenizer) -> tuple[str, bool]:
    """`embedded_text` as far as the model reads it, and whether it does not read all: so it is of whole documents."""
    return tokenizer.truncate(embedded_text(chunk), tokenizer.max_tokens)


def effective(chunking: Chunking, tokenizer: Tokenizer) -> Chunking:
    """What a collection's chunking comes to with a model: pieces no larger than it reads."""
    if chunking.type == WHOLE:
        return chunking
    size = min(chunking.size, tokenizer.max_tokens)
    return replace(chunking, size=size, overlap=min(chunking.overlap, size // 2))


def chunks(document: ParsedDocument, chunking: Chunking, tokenizer: Tokenizer) -> Iterator[Chunk]:
    """In order. Each is `document.text[start:end]`, and no longer than the model reads with the headings above it.

    The type `none` gives one, of any length (see `fitting_text`).
    """
    if chunking.type == WHOLE:
        whole = stripped(document.text, Section(0, len(document.text)))
        yield _chunk(document, whole, 0, _Above(document, tokenizer)(whole.start)[0])
        return
    wanted = effective(chunking, tokenizer)
    above = _Above(document, tokenizer)
    found = _pieces(document, wanted, tokenizer)
    ordinal = 0
    while batch := list(islice(found, _BATCH)):
        counts = tokenizer.counts([document.text[piece.start : piece.end] for piece in batch])
        for piece, count in zip(batch, counts, strict=True):
            heading, taken = above(piece.start)
            room = max(1, min(wanted.size, tokenizer.max_tokens - taken))
            parts = [piece] if count <= room else _by_tokens(document.text, piece, room, tokenizer)
            for part in parts:
                yield _chunk(document, part, ordinal, heading)
                ordinal += 1


def _chunk(document: ParsedDocument, piece: Section, ordinal: int, heading: tuple[str, ...]) -> Chunk:
    text = document.text[piece.start : piece.end]
    return Chunk(ordinal, text, piece.start, piece.end, heading, _page(document.pages, piece.start))


def _page(pages: Sequence[Page], place: int) -> int | None:
    position = bisect_right(pages, place, key=lambda page: page.start)
    return pages[position - 1].number if position else None


def _pieces(document: ParsedDocument, wanted: Chunking, tokenizer: Tokenizer) -> Iterator[Section]:
    """As long as `wanted` by the sum of their words, without white space around them."""
    text = document.text
    count = WordCounter(tokenizer)
    count.learn(text)
    outline = Outline(document)
    for section in sections(document, count, max(1, wanted.size // _SMALL_PART), wanted.size):
        # At its end a section has had the headings that stand above its pieces.
        _, taken = _fitting(outline.before(section.end), tokenizer)
        size = max(1, min(wanted.size, tokenizer.max_tokens - taken))
        if count(text[section.start : section.end]) <= size:
            pieces: Iterable[Section] = [section]
        else:
            pieces = cut(text, section, document.syntax, size, wanted.overlap, count)
        for piece in pieces:
            kept = stripped(text, piece)
            if kept.end > kept.start:
                yield kept


class _Above:
    """The headings above a place, as far as they fit, and how many tokens they take. Places are asked for in order."""

    def __init__(self, document: ParsedDocument, tokenizer: Tokenizer) -> None:
        self._outline = Outline(document)
        self._tokenizer = tokenizer
        self._path: tuple[str, ...] = ()
        self._fitting: tuple[tuple[str, ...], int] = ((), 0)

    def __call__(self, place: int) -> tuple[tuple[str, ...], int]:
        path = self._outline.above(place)
        if path != self._path:
            self._path, self._fitting = path, _fitting(path, self._tokenizer)
        return self._fitting


def _fitting(texts: tuple[str, ...], tokenizer: Tokenizer) -> tuple[tuple[str, ...], int]:
    """Of title and headings the middle ones give way first when they are too long. And how many tokens they take."""
    most = tokenizer.max_tokens // _HEADING_PART
    kept = list(texts)
    counts = tokenizer.counts(kept)
    while len(kept) > 1 and sum(counts) > most:
        position = 1 if len(kept) > 2 else 0
        del kept[position], counts[position]
    if kept and sum(counts) > most:
        short = tokenizer.truncate(kept[0], most)[0].strip()
        kept, counts = ([short], [tokenizer.count(short)]) if short else ([], [])
    return tuple(kept), sum(counts) + _JOINT_TOKENS if kept else 0


def _by_tokens(text: str, piece: Section, room: int, tokenizer: Tokenizer) -> Iterator[Section]:
    """For a piece that is longer than its words, or whose headings are longer than expected; without its overlap."""
    start = max(piece.start, piece.fresh)
    while start < piece.end:
        kept, was_cut = tokenizer.truncate(text[start : piece.end], room)
        end = start + max(1, len(kept)) if was_cut else piece.end
        part = stripped(text, Section(start, end))
        if part.end > part.start:
            yield part
        start = end
