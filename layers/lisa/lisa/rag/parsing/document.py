"""What parsing gives: one text in reading order, with marks for its pages and headings; or a reason why not."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lisa.errors import InvalidRequest


class DocumentRefused(InvalidRequest):
    """A file that cannot be taken in. The message is for whoever dropped it.

    `code` is one of: empty, encrypted, scanned, corrupt, mislabelled, unsupported, binary, unsafe, zip_bomb,
    too_large, too_complex.
    """

    def __init__(self, reason: str, code: str) -> None:
        super().__init__(reason, code=code)


@dataclass(frozen=True, slots=True)
class Page:
    """Pages count from 1. `start` and `end` count characters of the document's text, like all such here."""

    number: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Heading:
    """`level` 1 is the outermost. `start` and `end` are where it stands, with the signs that make it one."""

    level: int
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """`syntax` is how the text is written, where it is no prose: markdown, or a programming language.

    Cells of a table's row stand on one line, ` | ` between them. `title` is empty where the file has none.
    `notes` say what of the file is not in the text, and why.
    """

    title: str
    media_type: str
    text: str
    pages: tuple[Page, ...] = ()
    headings: tuple[Heading, ...] = ()
    syntax: str = ""
    notes: tuple[str, ...] = ()

    def dumps(self) -> bytes:
        """As JSON, to be read by `loads`."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def loads(cls, data: bytes) -> "ParsedDocument":
        fields: dict[str, Any] = json.loads(data)
        fields["pages"] = tuple(Page(**page) for page in fields["pages"])
        fields["headings"] = tuple(Heading(**heading) for heading in fields["headings"])
        fields["notes"] = tuple(fields["notes"])
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file may cost. Bytes are of the file, `unpacked_bytes` of all that an archive holds.

    `memory_bytes` bounds the address space of the process that parses, `cpu_seconds` and `seconds` its time,
    `depth` how deep messages and archives lie in each other.
    """

    bytes: int = 50 << 20
    unpacked_bytes: int = 512 << 20
    characters: int = 10_000_000
    pages: int = 5_000
    cells: int = 2_000_000
    memory_bytes: int = 1 << 30
    cpu_seconds: int = 60
    seconds: int = 90
    depth: int = 3


SEPARATOR = " | "
_BREAKS = re.compile(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]")
# NUL and other controls, halves of surrogate pairs, and the code points that are no characters: neither JSON, XML
# nor PostgreSQL takes them all.
_UNSOUND = re.compile("[\x00-\x08\x0e-\x1f\x7f\x80-\x84\x86-\x9f\ufeff\ufffe\uffff\ud800-\udfff]")
_MAX_TITLE = 300
_MAX_HEADING = 300


def sound(text: str) -> str:
    """With line feeds only for line breaks, and without characters that are none."""
    return _UNSOUND.sub("", _BREAKS.sub("\n", text))


def one_line(text: str) -> str:
    return " ".join(sound(text).split())


class Builder:
    """Puts a document together, piece by piece, within the limits.

    Raises DocumentRefused when it grows too long.
    """

    def __init__(self, limits: Limits, media_type: str, *, syntax: str = "") -> None:
        self.limits = limits
        self.title = ""
        self.notes: list[str] = []
        self._media_type = media_type
        self._syntax = syntax
        self._parts: list[str] = []
        self._length = 0
        self._breaks = 2  # line feeds at the end; none are needed at the very beginning
        self._wanted = 0  # line feeds before what comes next
        self._page_start: int | None = None
        self._in_page = False
        self._pages: list[Page] = []
        self._headings: list[Heading] = []

    def text(self, text: str) -> None:
        """Goes on where the text ends, as it is."""
        text = sound(text)
        if not text:
            return
        if self._parts and self._breaks < self._wanted:
            text = "\n" * (self._wanted - self._breaks) + text
        self._wanted = 0
        if self._in_page and self._page_start is None:
            self._page_start = self._length + len(text) - len(text.lstrip("\n"))
        if self._length + len(text) > self.limits.characters:
            raise DocumentRefused(
                f"The file holds more than {self.limits.characters:,} characters of text: split it.",
                "too_large",
            )
        self._parts.append(text)
        self._length += len(text)
        trailing = len(text) - len(text.rstrip("\n"))
        self._breaks = trailing if trailing < len(text) else self._breaks + trailing

    def paragraph(self, text: str) -> None:
        """A block of its own, an empty line before it."""
        text = sound(text).strip("\n").rstrip()
        if text.strip():
            self._break(2)
            self.text(text)

    def line(self, text: str) -> None:
        """A line of its own."""
        text = sound(text).strip("\n").rstrip()
        if text.strip():
            self._break(1)
            self.text(text)

    def row(self, cells: Sequence[str]) -> None:
        """A row of a table; empty ones are left out."""
        cleaned = [one_line(cell) for cell in cells]
        while cleaned and not cleaned[-1]:
            cleaned.pop()
        if cleaned:
            self.line(SEPARATOR.join(cleaned))

    def heading(self, level: int, text: str) -> None:
        text = one_line(text)
        if not text:
            return
        self._break(2)
        self.text(text)
        self.mark_heading(level, self._length - len(text), text)
        self._break(1)

    def mark_heading(self, level: int, start: int, text: str, end: int | None = None) -> None:
        """Says that what begins at `start` is a heading, which is written as `text`; in the order of the text."""
        if text and (not self._headings or self._headings[-1].start < start):
            self._headings.append(Heading(level, start, end or start + len(text), text[:_MAX_HEADING]))

    def gap(self) -> None:
        """What comes next is apart from what is there."""
        self._break(2)

    def open_page(self) -> None:
        self._break(2)
        self._in_page, self._page_start = True, None

    def close_page(self, number: int) -> None:
        """What came since the page was opened is on it; nothing is marked when nothing came."""
        if self._page_start is not None:
            self._pages.append(Page(number, self._page_start, self._length))
        self._in_page, self._page_start = False, None

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def so_far(self) -> str:
        return "".join(self._parts)

    @property
    def length(self) -> int:
        """Without the line breaks that are wanted before what comes next."""
        return self._length

    @property
    def pages(self) -> Sequence[Page]:
        return self._pages

    @property
    def headings(self) -> Sequence[Heading]:
        return self._headings

    def _break(self, lines: int) -> None:
        self._wanted = max(self._wanted, lines)

    def document(self) -> ParsedDocument:
        """Raises DocumentRefused when there is no text."""
        text = self.so_far()
        if not text.strip():
            raise DocumentRefused("The file holds no text.", "empty")
        return ParsedDocument(
            one_line(self.title)[:_MAX_TITLE],
            self._media_type,
            text,
            tuple(self._pages),
            tuple(self._headings),
            self._syntax,
            tuple(self.notes),
        )
