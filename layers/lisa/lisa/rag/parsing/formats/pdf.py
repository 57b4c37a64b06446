"""PDF: text in reading order, page by page, with headings by the outline or by their size."""

import ctypes
import re
from collections.abc import Sequence

import pypdfium2 as pdfium
from pypdfium2 import raw

from lisa.rag.parsing.document import Builder, DocumentRefused, Limits, ParsedDocument, one_line
from lisa.rag.parsing.formats.layout import GAP, Line, Piece, arranged, without_running_lines
from lisa.rag.parsing.kinds import Kind

_SCANNED_CHARACTERS = 16
"""A page with a picture and fewer than so many letters is a picture of a page."""

_HYPHEN_AT_END = "\ufffe"  # what PDFium writes for a hyphen that divides a word at the end of a line
_HEADING_GROWTH = 1.12
_MAX_HEADING = 160
_MAX_LEVELS = 4
_LEADERS = re.compile(r"(?:\. ?){5}")
_MAX_OUTLINE = 5_000
_NO_TITLES = (
    "untitled",
    "microsoft word",
    "powerpoint",
    "document",
    "slide 1",
    ".doc",
    ".ppt",
    ".tex",
    ".dvi",
    ".qxd",
)


def parse(data: bytes, kind: Kind, limits: Limits) -> ParsedDocument:
    builder = Builder(limits, kind.media_type)
    try:
        document = pdfium.PdfDocument(data)
    except pdfium.PdfiumError as error:
        if "assword" in str(error) or getattr(error, "err_code", None) == raw.FPDF_ERR_PASSWORD:
            raise DocumentRefused(
                "The PDF is protected by a password: remove it and add the file again.", "encrypted"
            ) from None
        raise DocumentRefused("The PDF is damaged: its structure cannot be read.", "corrupt") from None
    if len(document) == 0:
        raise DocumentRefused("The PDF has no pages.", "empty")
    if len(document) > limits.pages:
        raise DocumentRefused(f"The PDF has more than {limits.pages:,} pages: split it.", "too_large")
    pages, pictures = _read(document)
    _refuse_pictures(len(document), pictures, pages, builder)
    pages = without_running_lines(pages)
    sizes = _heading_sizes(pages)
    for number, lines in enumerate(pages, 1):
        builder.open_page()
        _page(lines, sizes, builder)
        builder.close_page(number)
    if not sizes:
        _outline(document, builder)
    builder.title = _title(document, pages, sizes)
    return builder.document()


def _read(document: "pdfium.PdfDocument") -> tuple[list[list[Line]], list[int]]:
    """The lines of each page, and the numbers of pages that seem to be pictures."""
    pages: list[list[Line]] = []
    pictures: list[int] = []
    for number in range(len(document)):
        try:
            page = document[number]
        except pdfium.PdfiumError:
            pages.append([])
            continue
        lines = arranged(_pieces(page))
        pages.append(lines)
        if sum(len(line.text) for line in lines) < _SCANNED_CHARACTERS and _has_picture(page):
            pictures.append(number + 1)
        page.close()
    return pages, pictures


def _has_picture(page: "pdfium.PdfPage") -> bool:
    wanted = [raw.FPDF_PAGEOBJ_IMAGE, raw.FPDF_PAGEOBJ_FORM]
    return next(iter(page.get_objects(filter=wanted, max_depth=2)), None) is not None


def _refuse_pictures(
    count: int, pictures: Sequence[int], pages: Sequence[list[Line]], builder: Builder
) -> None:
    if not pictures:
        return
    if len(pictures) == count or not any(line.text.strip() for lines in pages for line in lines):
        raise DocumentRefused(
            "The PDF holds pictures of pages and no text, as a scanner makes it: run text recognition (OCR) on it "
            "and add the result.",
            "scanned",
        )
    shown = ", ".join(map(str, pictures[:20])) + (" ..." if len(pictures) > 20 else "")
    builder.note(f"Pages that are pictures have no text: {shown}.")


def _pieces(page: "pdfium.PdfPage") -> list[Piece]:
    """Runs of words in the order of the page's content; a wide gap in a line divides it."""
    textpage = page.get_textpage()
    text = textpage.get_text_range().replace("\r\n", "\n")
    boxes = _Boxes(textpage)
    pieces: list[Piece] = []
    index = 0  # of PDFium's characters: a line break is two of them, and one beyond the first plane is one
    for line in text.split("\n"):
        first = index
        index += len(line) + 2
        if line.strip():
            pieces.extend(_divided(line, first, boxes))
    textpage.close()
    return pieces


def _divided(line: str, first: int, boxes: "_Boxes") -> list[Piece]:
    """A line at its wide gaps."""
    size = boxes.size(first + len(line) - len(line.lstrip()))
    pieces: list[Piece] = []
    start = 0
    position = line.find(" ")
    while position != -1:
        after = position + 1
        while after < len(line) and line[after] == " ":
            after += 1
        if start < position and after < len(line):
            left, right = boxes.box(first + position - 1), boxes.box(first + after)
            if right[0] - left[2] > GAP * max(size, 1.0):
                pieces.append(boxes.piece(line[start:position], first + start, size))
                start = after
        position = line.find(" ", after)
    pieces.append(boxes.piece(line[start:].rstrip(), first + start, size))
    return [piece for piece in pieces if piece.text.strip()]


class _Boxes:
    """Where characters stand, in points from the lower left: (left, bottom, right, top)."""

    def __init__(self, textpage: "pdfium.PdfTextPage") -> None:
        self._handle = textpage.raw
        self._numbers = [ctypes.c_double() for _ in range(4)]

    def box(self, index: int) -> tuple[float, float, float, float]:
        left, right, bottom, top = self._numbers
        raw.FPDFText_GetCharBox(self._handle, index, left, right, bottom, top)
        return left.value, bottom.value, right.value, top.value

    def size(self, index: int) -> float:
        """Of the letters, as they stand on the page: the font's own number may be scaled."""
        rectangle = raw.FS_RECTF()
        if raw.FPDFText_GetLooseCharBox(self._handle, index, rectangle):
            return float(abs(rectangle.top - rectangle.bottom))
        return float(raw.FPDFText_GetFontSize(self._handle, index))

    def piece(self, text: str, first: int, size: float) -> Piece:
        lead = len(text) - len(text.lstrip())
        start, end = self.box(first + lead), self.box(first + len(text.rstrip()) - 1)
        return Piece(
            text.strip(),
            start[0],
            min(start[1], end[1]),
            max(start[2], end[2]),
            max(start[3], end[3]),
            size,
            start[1],
        )


def _heading_sizes(pages: Sequence[list[Line]]) -> dict[float, int]:
    """Levels of the sizes that are larger than most of the text's, the largest first; few lines have them."""
    weights: dict[float, int] = {}
    for lines in pages:
        for line in lines:
            weights[line.size] = weights.get(line.size, 0) + len(line.text)
    if not weights:
        return {}
    usual = max(weights, key=lambda size: weights[size])
    total = sum(weights.values())
    larger = sorted((size for size in weights if size > usual * _HEADING_GROWTH), reverse=True)
    if sum(weights[size] for size in larger) > 0.3 * total:
        return {}
    levels: dict[float, int] = {}
    level, last = 0, 0.0
    for size in larger:
        if not last or size < last / 1.05:
            level, last = level + 1, size
        levels[size] = min(level, _MAX_LEVELS)
    return levels


def _page(lines: Sequence[Line], sizes: dict[float, int], builder: Builder) -> None:
    joined = ""  # the beginning of a word that was divided at the end of a line
    position = 0
    while position < len(lines):
        line = lines[position]
        if (level := sizes.get(line.size)) and len(line.text) <= _MAX_HEADING and _may_head(line.text):
            texts = [line.text]
            while _goes_on(lines, position, len(texts), sizes):
                position += 1
                texts.append(lines[position].text)
            builder.heading(level, " ".join(texts).replace(_HYPHEN_AT_END + " ", ""))
        else:
            if line.gap and not joined:
                builder.gap()
            text = joined + line.text
            joined = ""
            if text.endswith(_HYPHEN_AT_END) and position + 1 < len(lines):
                text, _, joined = text[:-1].rpartition(" ")
            builder.line(text)
        position += 1
    builder.line(joined)


def _goes_on(lines: Sequence[Line], position: int, count: int, sizes: dict[float, int]) -> bool:
    """Whether a heading has another line."""
    if position + 1 >= len(lines) or count >= 3:
        return False
    line, following = lines[position], lines[position + 1]
    return following.size == line.size and not following.gap and len(following.text) <= _MAX_HEADING


def _may_head(text: str) -> bool:
    """Whether it reads like a heading: not a number, a formula or a line of a table of contents."""
    return sum(character.isalpha() for character in text) >= 2 and not _LEADERS.search(text)


def _outline(document: "pdfium.PdfDocument", builder: Builder) -> None:
    """Headings that the file names itself, found again in the text of their pages."""
    text = builder.so_far()
    pages = {page.number: page for page in builder.pages}
    for number, bookmark in enumerate(document.get_toc(max_depth=6)):
        if number >= _MAX_OUTLINE:
            break
        title, destination = one_line(bookmark.get_title() or ""), bookmark.get_dest()
        index = destination.get_index() if destination is not None else None
        page = pages.get(index + 1) if index is not None else None
        if not title or page is None:
            continue
        found = text.find(title, page.start, page.end)
        if found != -1 and (found == page.start or text[found - 1] in "\n "):
            builder.mark_heading(bookmark.level + 1, found, title)


def _title(document: "pdfium.PdfDocument", pages: Sequence[list[Line]], sizes: dict[float, int]) -> str:
    title = one_line(document.get_metadata_value("Title") or "")
    if title and len(title) > 2 and not any(word in title.lower() for word in _NO_TITLES):
        return title
    largest = [line.text for line in pages[0] if sizes.get(line.size) == 1] if pages else []
    return " ".join(largest[:3]).replace(_HYPHEN_AT_END + " ", "")
