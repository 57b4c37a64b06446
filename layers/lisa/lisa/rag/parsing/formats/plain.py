"""Formats that are read as they are written: text, source code, Markdown, JSON, tables of values."""

import csv
import io
import json
import re

from lisa.rag.parsing.decoding import decode
from lisa.rag.parsing.document import Builder, Limits, ParsedDocument, sound
from lisa.rag.parsing.kinds import CSV, Kind
from lisa.rag.parsing.tables import Sheet

_LONG_LINE = 4_000
_MAX_INDENTED_BYTES = 8 << 20
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))??(?:[ \t]+#+)?[ \t]*$")
_UNDERLINE = re.compile(r" {0,3}(?:=+|-{2,})[ \t]*$")
_NO_PARAGRAPH = re.compile(r"\s*$|[ \t]*(?:[-*+>|#]|\d+[.)])|\t| {4}")
_FRONT_TITLE = re.compile(r"^title:\s*(.+?)\s*$", re.MULTILINE)


def parse(data: bytes, kind: Kind, limits: Limits) -> ParsedDocument:
    text = sound(decode(data, kind.promised))
    builder = Builder(limits, kind.media_type, syntax=kind.syntax)
    if kind.name == "markdown":
        markdown(text, builder)
    elif kind == CSV:
        table(text, builder)
    elif kind.name == "json":
        builder.text(indented(text))
    else:
        builder.text(text)
    return builder.document()


def markdown(text: str, builder: Builder) -> None:
    """The text as it is, with its headings marked: `# so`, or underlined."""
    builder.text(text)
    base, position, fence, before = builder.length - len(text), 0, "", ""
    front_end = _front_matter(text)
    if front_end and (title := _FRONT_TITLE.search(text, 0, front_end)):
        builder.title = title[1].strip("\"'")
    for line in text.split("\n"):
        start = base + position
        position += len(line) + 1
        opening = _FENCE.match(line)
        if start - base < front_end:
            before = ""
            continue
        if fence:
            fence = (
                ""
                if opening and opening[1].startswith(fence) and not line[opening.end() :].strip()
                else fence
            )
            before = ""
        elif opening:
            fence, before = opening[1], ""
        elif found := _ATX.match(line):
            _mark(
                builder,
                len(found[1]),
                start + line.index("#"),
                (found[2] or "").strip(),
                start + len(line.rstrip()),
            )
            before = ""
        elif before and _UNDERLINE.match(line):
            above = start - len(before.lstrip()) - 1
            _mark(builder, 1 if "=" in line else 2, above, before.strip(), start + len(line.rstrip()))
            before = ""
        else:
            before = "" if _NO_PARAGRAPH.match(line) else line


def _mark(builder: Builder, level: int, start: int, text: str, end: int) -> None:
    builder.mark_heading(level, start, text, end)
    if level == 1 and not builder.title:
        builder.title = text


def _front_matter(text: str) -> int:
    """Where the block of settings at the very top ends; 0 without one."""
    if not text.startswith("---\n"):
        return 0
    end = text.find("\n---", 3)
    return end + 4 if 0 < end < 20_000 else 0


def indented(text: str) -> str:
    """JSON that was written for machines, one value a line; other text as it is."""
    if len(text) > _MAX_INDENTED_BYTES or max(map(len, text.split("\n")), default=0) < _LONG_LINE:
        return text
    try:
        return json.dumps(json.loads(text), ensure_ascii=False, indent=1)
    except (ValueError, RecursionError):
        return text


def table(text: str, builder: Builder) -> None:
    sheet = Sheet(builder)
    for row in csv.reader(io.StringIO(text), dialect=_dialect(text[:16_384])):
        sheet.row(row)


def _dialect(sample: str) -> type[csv.Dialect]:
    class Found(csv.excel):
        delimiter = max(",;\t|", key=lambda mark: _consistency(sample, mark))

    csv.field_size_limit(1 << 30)  # the file's own size is limited
    return Found


def _consistency(sample: str, mark: str) -> tuple[float, int]:
    """How evenly a mark divides the first lines."""
    counts = [line.count(mark) for line in sample.split("\n")[:20] if line.strip()]
    usual = max(set(counts), key=counts.count, default=0)
    return (counts.count(usual) / len(counts) if usual else 0.0), usual
