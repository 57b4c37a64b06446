"""OpenDocument texts and presentations."""

from lxml import etree

from lisa.rag.parsing.archives import Archive
from lisa.rag.parsing.document import Builder, DocumentRefused, Limits, ParsedDocument, one_line
from lisa.rag.parsing.formats.xml import read
from lisa.rag.parsing.kinds import Kind

_OASIS = "urn:oasis:names:tc:opendocument:xmlns"
TEXT, TABLE, DRAW, PRESENTATION = (
    f"{{{_OASIS}:{name}:1.0}}" for name in ("text", "table", "drawing", "presentation")
)
_TITLE = ".//{http://purl.org/dc/elements/1.1/}title"
_LEFT_OUT = (f"{TEXT}tracked-changes", f"{TEXT}table-of-content", f"{TEXT}note-citation")
_MAX_SPACES = 100


def parse(archive: Archive, kind: Kind, limits: Limits) -> ParsedDocument:
    builder = Builder(limits, kind.media_type)
    _refuse_encrypted(archive)
    if "meta.xml" in archive.names:
        builder.title = one_line(read(archive.read("meta.xml")).findtext(_TITLE) or "")
    _content(read(archive.read("content.xml")), builder)
    return builder.document()


def _refuse_encrypted(archive: Archive) -> None:
    manifest = "META-INF/manifest.xml"
    if manifest in archive.names and b"encryption-data" in archive.read(manifest):
        raise DocumentRefused(
            "The file is protected by a password: remove it and add the file again.", "encrypted"
        )


def _content(root: "etree._Element", builder: Builder) -> None:
    pages = 0
    skipped: etree._Element | None = None
    for event, element in etree.iterwalk(root, events=("start", "end")):
        tag = element.tag
        if skipped is not None:
            if event == "end" and element is skipped:
                skipped = None
        elif event == "end":
            if tag == f"{DRAW}page":
                builder.close_page(pages)
        elif tag in _LEFT_OUT:
            skipped = element
        elif tag == f"{DRAW}page":
            builder.open_page()
            pages += 1
        elif tag == f"{DRAW}frame" and element.get(f"{PRESENTATION}class") == "title":
            builder.heading(1, " ".join(_text(each) for each in element.iter(f"{TEXT}p")))
            skipped = element
        elif tag == f"{TEXT}h":
            level = element.get(f"{TEXT}outline-level", "1")
            builder.heading(int(level) if level.isdigit() else 1, _text(element))
            skipped = element
        elif tag == f"{TEXT}p":
            builder.paragraph(_text(element))
            skipped = element
        elif tag == f"{TABLE}table-row":
            builder.row([" ".join(_text(each) for each in cell.iter(f"{TEXT}p")) for cell in element])
            skipped = element


def _text(element: "etree._Element") -> str:
    parts = [element.text or ""]
    for each in element.iterdescendants():
        if each.tag == f"{TEXT}s":
            count = each.get(f"{TEXT}c", "1")
            parts.append(" " * min(int(count) if count.isdigit() else 1, _MAX_SPACES))
        elif each.tag == f"{TEXT}tab":
            parts.append("\t")
        elif each.tag == f"{TEXT}line-break":
            parts.append("\n")
        if isinstance(each.tag, str) and each.tag != f"{TEXT}page-number":
            parts.append(each.text or "")
        parts.append(each.tail or "")
    return "".join(parts)
