"""Word documents. Text in content controls, insertions that are not yet accepted and text boxes counts as well."""

from lxml import etree

from lisa.rag.parsing.archives import Archive
from lisa.rag.parsing.document import Builder, Limits, ParsedDocument
from lisa.rag.parsing.formats import ooxml
from lisa.rag.parsing.formats.xml import read
from lisa.rag.parsing.kinds import Kind

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_NOTES = {"word/footnotes.xml": f"{W}footnote", "word/endnotes.xml": f"{W}endnote"}
_MAX_OUTLINE = 9


def parse(archive: Archive, kind: Kind, limits: Limits) -> ParsedDocument:
    builder = Builder(limits, kind.media_type)
    builder.title = ooxml.title(archive)
    levels = _levels(archive)
    body = read(archive.read("word/document.xml")).find(f"{W}body")
    if body is not None:
        _blocks(body, builder, levels)
    for part, tag in _NOTES.items():
        if part in archive.names:
            for note in read(archive.read(part)).iter(tag):
                if note.get(f"{W}type") is None:  # others are the lines that separate notes
                    builder.paragraph(_text(note))
    return builder.document()


def _levels(archive: Archive) -> dict[str, int]:
    """Of styles that are headings, by their ids: the level, 0 for the title."""
    levels: dict[str, int] = {}
    if "word/styles.xml" not in archive.names:
        return levels
    parents: dict[str, str] = {}
    for style in read(archive.read("word/styles.xml")).iter(f"{W}style"):
        name_element, outline = style.find(f"{W}name"), style.find(f"{W}pPr/{W}outlineLvl")
        based_on = style.find(f"{W}basedOn")
        style_id = style.get(f"{W}styleId", "")
        name = (name_element.get(f"{W}val", "") if name_element is not None else "").lower()
        if name == "title":
            levels[style_id] = 0
        elif name.startswith("heading ") and name[8:].isdigit():
            levels[style_id] = int(name[8:])
        elif outline is not None and outline.get(f"{W}val", "").isdigit():
            level = int(outline.get(f"{W}val", "9")) + 1
            if level <= _MAX_OUTLINE:
                levels[style_id] = level
        elif based_on is not None:
            parents[style_id] = based_on.get(f"{W}val", "")
    for style_id, parent in parents.items():
        if parent in levels:
            levels[style_id] = levels[parent]
    return levels


def _blocks(parent: "etree._Element", builder: Builder, levels: dict[str, int]) -> None:
    """Paragraphs and tables, also those in content controls and the like."""
    for element in parent:
        if element.tag == f"{W}p":
            _paragraph(element, builder, levels)
        elif element.tag == f"{W}tbl":
            builder.gap()
            for row in _rows(element):
                builder.row(row)
            builder.gap()
        elif element.tag not in (f"{W}del", f"{W}moveFrom"):
            _blocks(element, builder, levels)


def _paragraph(paragraph: "etree._Element", builder: Builder, levels: dict[str, int]) -> None:
    text = _text(paragraph)
    level = _level(paragraph, levels)
    properties = paragraph.find(f"{W}pPr")
    if level is None or len(text) > 300:
        is_item = properties is not None and properties.find(f"{W}numPr") is not None
        (builder.line if is_item else builder.paragraph)(f"- {text}" if is_item and text.strip() else text)
    else:
        if level == 0 and not builder.title:
            builder.title = text
        builder.heading(max(1, level), text)


def _level(paragraph: "etree._Element", levels: dict[str, int]) -> int | None:
    own = paragraph.find(f"{W}pPr/{W}outlineLvl")
    if own is not None and own.get(f"{W}val", "").isdigit() and int(own.get(f"{W}val", "9")) < _MAX_OUTLINE:
        return int(own.get(f"{W}val", "0")) + 1
    style = paragraph.find(f"{W}pPr/{W}pStyle")
    return levels.get(style.get(f"{W}val", "")) if style is not None else None


def _rows(table: "etree._Element") -> list[list[str]]:
    """Those of tables in its cells are words of the cells."""
    return [
        [" ".join(_text(paragraph) for paragraph in cell.iter(f"{W}p")) for cell in row.iterfind(f".//{W}tc")]
        for row in table.iterfind(f"{W}tr")
    ]


def _text(element: "etree._Element") -> str:
    """Without what was deleted, and without text boxes' second form for old programs."""
    parts: list[str] = []
    skipped: etree._Element | None = None
    for event, each in etree.iterwalk(element, events=("start", "end")):
        if skipped is not None:
            if event == "end" and each is skipped:
                skipped = None
        elif event == "start":
            if each.tag in (f"{W}del", f"{W}moveFrom", _FALLBACK, f"{W}instrText", f"{W}pPr"):
                skipped = each
            elif each.tag == f"{W}t":
                parts.append(each.text or "")
            elif each.tag == f"{W}tab":
                parts.append("\t")
            elif each.tag in (f"{W}br", f"{W}cr"):
                parts.append("\n")
            elif each.tag == f"{W}noBreakHyphen":
                parts.append("-")
            elif each.tag == f"{W}p" and parts:
                parts.append("\n")
    return "".join(parts)
