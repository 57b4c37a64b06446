"""From pieces of text with places on a page to lines in reading order: columns one after the other, rows of tables
as one line.

Programs write a page's text in an order that is nearly always that of reading, so that order is kept, but for what
stands side by side: pieces of one height that follow each other are a row, and rows whose pieces are long and have a
common gap between them are columns that were written line by line.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from lisa.rag.parsing.document import SEPARATOR

_COLUMN_LETTERS = 24
"""Lines of a column have at least so many letters; cells of tables mostly fewer."""

_COLUMN_ROWS = 4
_LEAST_OVERLAP = 0.3

GAP = 1.2
"""A gap in a line that is wider than so many of its letters' height divides it."""

_RUNNING_PAGES = 4
_DIGITS = re.compile(r"\d+")

_ITEM = re.compile(r"[^\w\s]{1,2}|\(?(?:\d{1,3}|[a-z]|[ivx]{1,4})[.)]")
_SECTION = re.compile(r"[A-Z]?\d*(?:\.\d+)*\.?")
_WORD = re.compile(r"[^\W\d_]{3}")


@dataclass(frozen=True, slots=True)
class Piece:
    """Places are in points from the lower left of the page; `size` is the height of its letters.

    PDFium joins a word that was divided at the end of a line, so a piece may reach over two: `first_bottom` is where
    it begins.
    """

    text: str
    left: float
    bottom: float
    right: float
    top: float
    size: float
    first_bottom: float


@dataclass(frozen=True, slots=True)
class Line:
    """`gap` says that it stands apart from the line before it."""

    text: str
    size: float
    gap: bool


def arranged(pieces: Sequence[Piece]) -> list[Line]:
    rows = _rows(pieces)
    ordered: list[list[Piece]] = []
    position = 0
    while position < len(rows):
        end = _columns_end(rows, position)
        if end - position >= _COLUMN_ROWS:
            ordered.extend([row[0]] for row in rows[position:end])
            ordered.extend([row[1]] for row in rows[position:end] if len(row) > 1)
            position = end
        else:
            ordered.append(rows[position])
            position += 1
    return _lines(ordered)


def _rows(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Pieces that follow each other to the right, at one height; those without a gap between them become one."""
    rows: list[list[Piece]] = []
    for piece in pieces:
        last = rows[-1][-1] if rows else None
        gap = piece.left - last.right if last is not None else 0.0
        if last is None or gap < -0.2 * last.size or _overlap(last, piece) < _LEAST_OVERLAP:
            rows.append([piece])
        elif gap <= GAP * max(last.size, piece.size):
            rows[-1][-1] = _one(last, piece, "" if gap < 0.15 * last.size else " ")
        else:
            rows[-1].append(piece)
    return rows


def _one(left: Piece, right: Piece, between: str) -> Piece:
    """Such as a letter and its exponent, which programs write a little higher."""
    return Piece(
        f"{left.text}{between}{right.text}",
        left.left,
        min(left.bottom, right.bottom),
        right.right,
        max(left.top, right.top),
        max(left.size, right.size),
        left.first_bottom,
    )


def _overlap(one: Piece, other: Piece) -> float:
    """How much of the lower one's height they share."""
    shared = min(one.top, other.top) - max(one.bottom, other.bottom)
    return shared / max(0.1, min(one.top - one.bottom, other.top - other.bottom))


def _columns_end(rows: Sequence[list[Piece]], start: int) -> int:
    """Behind the last row of two columns that begin at `start`; `start` itself when there are none."""
    left_end, right_start = float("-inf"), float("inf")
    end = start
    letters: list[int] = []
    for position in range(start, len(rows)):
        row = rows[position]
        if len(row) == 1 and end > start and row[0].right < right_start:
            left_end = max(left_end, row[0].right)  # the other column has no line at this height
        elif len(row) == 2:
            left_end, right_start = max(left_end, row[0].right), min(right_start, row[1].left)
            letters += [len(row[0].text), len(row[1].text)]
        else:
            break
        if left_end >= right_start:
            break
        end = position + 1
    return end if letters and median(letters) >= _COLUMN_LETTERS else start


def _lines(rows: Sequence[list[Piece]]) -> list[Line]:
    lines: list[Line] = []
    before: Piece | None = None
    for row in rows:
        first = row[0]
        size = round(max(row, key=lambda piece: len(piece.text)).size, 1)
        lines.append(Line(_joined(row), size, _is_apart(before, first)))
        before = first
    return lines


def _joined(row: Sequence[Piece]) -> str:
    """Cells with marks between them; the sign or number of a list's item is none."""
    texts = [piece.text for piece in row]
    is_numbered = len(texts) == 2 and _SECTION.fullmatch(texts[0]) and _WORD.search(texts[1])
    if len(texts) > 1 and (is_numbered or _ITEM.fullmatch(texts[0])):
        texts[:2] = [f"{texts[0]} {texts[1]}"]
    return SEPARATOR.join(texts)


def _is_apart(before: Piece | None, piece: Piece) -> bool:
    """More than a line's distance below the last one, or beside or above it: another column."""
    if before is None:
        return False
    distance = before.bottom - piece.first_bottom
    return distance < 0 or distance > 1.65 * max(before.size, piece.size)


def without_running_lines(pages: Sequence[list[Line]]) -> list[list[Line]]:
    """Without page numbers, and with what stands at the top or bottom of most pages only where it comes first."""
    if len(pages) < _RUNNING_PAGES:
        return list(pages)
    seen: dict[str, int] = {}
    for lines in pages:
        for key in {_DIGITS.sub("#", lines[position].text) for position in _margins(lines)}:
            seen[key] = seen.get(key, 0) + 1
    running = {key for key, count in seen.items() if count >= max(_RUNNING_PAGES, len(pages) // 2)}
    kept: list[list[Line]] = []
    shown: set[str] = set()
    for lines in pages:
        dropped: set[int] = set()
        for position in _margins(lines):
            key = _DIGITS.sub("#", lines[position].text)
            if key in running and (key in shown or not _WORD.search(key)):
                dropped.add(position)
            shown.add(key)
        kept.append([line for position, line in enumerate(lines) if position not in dropped])
    return kept


def _margins(lines: Sequence[Line]) -> set[int]:
    """Positions of a page's first and last two lines."""
    return {position for position in (0, 1, len(lines) - 2, len(lines) - 1) if 0 <= position < len(lines)}
