"""Presentations: slides are pages; speakers' notes come with their slide."""

from lxml import etree

from lisa.rag.parsing.archives import Archive
from lisa.rag.parsing.document import Builder, Limits, ParsedDocument
from lisa.rag.parsing.formats import ooxml
from lisa.rag.parsing.formats.xml import read
from lisa.rag.parsing.kinds import Kind

A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
P = "{http://schemas.openxmlformats.org/presentationml/2006/main}"
R = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_TITLES = ("title", "ctrTitle")
_SMALL_PRINT = ("sldNum", "dt", "ftr", "sldImg", "hdr")
_ANYWHERE = (1 << 62, 1 << 62)


def parse(archive: Archive, kind: Kind, limits: Limits) -> ParsedDocument:
    builder = Builder(limits, kind.media_type)
    builder.title = ooxml.title(archive)
    presentation = "ppt/presentation.xml"
    parts = ooxml.relations(archive, presentation)
    slides = [
        parts[slide.get(f"{R}id", "")][1]
        for slide in read(archive.read(presentation)).iter(f"{P}sldId")
        if slide.get(f"{R}id", "") in parts
    ]
    for number, part in enumerate(slides, 1):
        builder.open_page()
        _slide(read(archive.read(part)), builder)
        for relation, target in ooxml.relations(archive, part).values():
            if relation == "notesSlide" and target in archive.names:
                _notes(read(archive.read(target)), builder)
        builder.close_page(number)
    return builder.document()


def _slide(slide: "etree._Element", builder: Builder) -> None:
    """The title first, then from top to bottom, as people read; files hold shapes as they were drawn."""
    shapes = [shape for shape in slide.iter(f"{P}sp", f"{P}graphicFrame") if _role(shape) not in _SMALL_PRINT]
    shapes.sort(key=lambda shape: (_role(shape) not in _TITLES, *_place(shape)))
    for shape in shapes:
        if _role(shape) in _TITLES:
            title = " ".join(_paragraphs(shape))
            builder.heading(1, title)
            builder.title = builder.title or title
            continue
        builder.gap()
        for row in shape.iter(f"{A}tr"):
            builder.row([" ".join(_paragraphs(cell)) for cell in row.iter(f"{A}tc")])
        if shape.tag == f"{P}sp":
            for paragraph in _paragraphs(shape):
                builder.line(paragraph)


def _notes(notes: "etree._Element", builder: Builder) -> None:
    builder.gap()
    for shape in notes.iter(f"{P}sp"):
        if _role(shape) not in _SMALL_PRINT:
            for paragraph in _paragraphs(shape):
                builder.line(paragraph)


def _role(shape: "etree._Element") -> str:
    placeholder = shape.find(f"./*/{P}nvPr/{P}ph")
    return placeholder.get("type", "body") if placeholder is not None else ""


def _place(shape: "etree._Element") -> tuple[int, int]:
    """From the top and from the left; a placeholder without a place of its own has its layout's, which is in order."""
    offset = shape.find(f".//{A}off") if shape.tag == f"{P}sp" else shape.find(f"{P}xfrm/{A}off")
    try:
        return (int(offset.get("y", "0")), int(offset.get("x", "0"))) if offset is not None else (0, 0)
    except ValueError:
        return _ANYWHERE


def _paragraphs(shape: "etree._Element") -> list[str]:
    found = []
    for paragraph in shape.iter(f"{A}p"):
        parts = [
            " " if each.tag == f"{A}br" else each.text or "" for each in paragraph.iter(f"{A}t", f"{A}br")
        ]
        if text := "".join(parts).strip():
            found.append(text)
    return found
