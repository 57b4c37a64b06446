"""HTML: the text that a browser would show, block by block."""

import re
from collections.abc import Callable

from lxml import etree

from lisa.rag.parsing.decoding import decode
from lisa.rag.parsing.document import SEPARATOR, Builder, DocumentRefused, Limits, ParsedDocument, one_line
from lisa.rag.parsing.kinds import Kind

# fmt: off
_HIDDEN = frozenset((
    "script", "style", "template", "noscript", "svg", "math", "canvas", "object", "iframe", "audio", "video", "head",
    "select", "datalist",
))
_BLOCKS = frozenset((
    "address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "dialog", "div", "dl",
    "dt", "fieldset", "figcaption", "figure", "footer", "form", "header", "hgroup", "hr", "html", "legend", "li",
    "main", "menu", "nav", "ol", "p", "pre", "section", "summary", "table", "tbody", "tfoot", "thead", "tr", "ul",
    "h1", "h2", "h3", "h4", "h5", "h6",
))
# fmt: on
_SPACED = frozenset(["p", "blockquote", "pre", "table", "ul", "ol", "dl", "section", "article", "figure"])
_CELLS = frozenset(("td", "th"))
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.-]{2,40})", re.IGNORECASE)
_XML_CHARSET = re.compile(rb"<\?xml[^>]{0,100}?encoding\s*=\s*[\"']([A-Za-z0-9_:.-]{2,40})", re.IGNORECASE)
_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")


def parse(data: bytes, kind: Kind, limits: Limits) -> ParsedDocument:
    builder = Builder(limits, kind.media_type)
    add(decoded(data), builder)
    return builder.document()


def decoded(data: bytes) -> str:
    """By its byte order mark, then by what it says itself, then by a guess."""
    found = _CHARSET.search(data[:4096]) or _XML_CHARSET.match(data[:200])
    if found and not data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        name = found[1].decode().lower()
        try:
            return data.decode("cp1252" if name in ("iso-8859-1", "latin1", "us-ascii") else name, "strict")
        except (LookupError, UnicodeDecodeError):
            return decode(data)
    return decode(data)


def add(text: str, builder: Builder, *, level: int = 0) -> None:
    """Goes on in `builder` with what a page shows; its headings lie below `level`. Sets a title that is not set."""
    text = _DECLARATION.sub("", text)
    if not text.strip():
        return
    # Well-formed or not: whatever a browser would make of it.
    parser = etree.HTMLParser(
        recover=True, no_network=True, remove_comments=True, remove_pis=True, huge_tree=True
    )
    root = etree.fromstring(text, parser)
    if any("depth" in error.message for error in parser.error_log.filter_from_fatals()):
        raise DocumentRefused("The file is nested too deep to be read.", "too_complex")
    if root is None:
        return
    if not builder.title and (title := root.find(".//title")) is not None:
        builder.title = one_line("".join(title.itertext()))
    _Page(builder, level).walk(root)


class _Page:
    """Collects the words of a line until a block begins or ends."""

    def __init__(self, builder: Builder, level: int) -> None:
        self._builder = builder
        self._level = level
        self._words: list[str] = []
        self._rows: list[list[str]] = []  # of the tables that we are in, the cells of the present row
        self._emit: Callable[[str], None] = builder.line
        self._lists: list[int] = []  # of the lists that we are in: the last item's number, or -1
        self._preformatted = 0

    def walk(self, root: "etree._Element") -> None:
        hidden: etree._Element | None = None
        for event, element in etree.iterwalk(root, events=("start", "end")):
            if hidden is not None:
                if event == "end" and element is hidden:
                    hidden = None
                    self._say(element.tail)
                continue
            tag = element.tag
            if event == "start":
                if tag in _HIDDEN or "hidden" in element.attrib:
                    hidden = element
                    continue
                self._open(tag)
                self._say(element.text)
            else:
                self._close(tag)
                self._say(element.tail)
        self._flush()

    def _say(self, text: str | None) -> None:
        if text:
            self._words.append(text)

    def _open(self, tag: str) -> None:
        if tag == "br":
            self._words.append("\n" if self._preformatted or not self._rows else " ")
            if not self._preformatted and not self._rows:
                self._flush()
        elif tag in _CELLS:
            if self._rows:
                self._words.clear()
        elif tag == "tr":
            self._flush()
            self._rows.append([])
        elif tag in _BLOCKS:
            if self._rows:
                self._words.append(" ")  # blocks in a cell stay in it
                return
            self._flush()
            if tag in _SPACED and not self._lists:
                self._builder.gap()
            if tag in ("ul", "ol"):
                self._lists.append(0 if tag == "ol" else -1)
            elif tag == "li":
                self._item()
            elif tag == "pre":
                self._preformatted += 1

    def _item(self) -> None:
        if not self._lists or self._lists[-1] < 0:
            self._words.append("- ")
        else:
            self._lists[-1] += 1
            self._words.append(f"{self._lists[-1]}. ")

    def _close(self, tag: str) -> None:
        if tag in _CELLS and self._rows:
            self._rows[-1].append(one_line("".join(self._words)))
            self._words.clear()
        elif tag == "tr" and self._rows:
            self._end_row()
        elif self._rows:
            if tag in _BLOCKS:
                self._words.append(" ")
        elif tag in _HEADINGS:
            self._builder.heading(self._level + _HEADINGS[tag], "".join(self._words))
            self._words.clear()
        elif tag in _BLOCKS:
            self._flush()
            if tag in ("ul", "ol") and self._lists:
                self._lists.pop()
            elif tag == "pre" and self._preformatted:
                self._preformatted -= 1
            if tag in _SPACED and not self._lists:
                self._builder.gap()

    def _end_row(self) -> None:
        cells = self._rows.pop()
        stray = one_line("".join(self._words))
        self._words.clear()
        row = SEPARATOR.join([*cells, stray] if stray else cells).strip(SEPARATOR)
        if self._rows:  # a table within a cell: its rows are words of that cell
            self._words.append(f" {row} ")
        elif row:
            self._builder.row(cells if not stray else [*cells, stray])

    def _flush(self) -> None:
        words = "".join(self._words)
        self._words.clear()
        if not words.strip() or words in ("- ",):
            return
        if self._preformatted:
            self._builder.line(words)
        else:
            self._builder.line(one_line(words))
