"""Formats that are archives: which of them a file is says what lies in it, not its name."""

from collections.abc import Callable
from dataclasses import replace

from lisa.rag.parsing.archives import Archive
from lisa.rag.parsing.document import DocumentRefused, Limits, ParsedDocument
from lisa.rag.parsing.formats import docx, epub, opendocument, pptx, sheets
from lisa.rag.parsing.kinds import Kind

_OFFICE = "application/vnd.openxmlformats-officedocument"
_OPEN_DOCUMENT = "application/vnd.oasis.opendocument"

Parser = Callable[[Archive, Kind, Limits], ParsedDocument]
# Named by the part that each of them must have.
_PARTS: dict[str, tuple[str, Parser]] = {
    "word/document.xml": (f"{_OFFICE}.wordprocessingml.document", docx.parse),
    "ppt/presentation.xml": (f"{_OFFICE}.presentationml.presentation", pptx.parse),
}
_WORKBOOKS = {
    "xl/workbook.xml": f"{_OFFICE}.spreadsheetml.sheet",
    "xl/workbook.bin": "application/vnd.ms-excel.sheet.binary.macroEnabled.12",
}
_MIMETYPES: dict[str, Parser] = {
    "application/epub+zip": epub.parse,
    f"{_OPEN_DOCUMENT}.text": opendocument.parse,
    f"{_OPEN_DOCUMENT}.presentation": opendocument.parse,
}


def parse(data: bytes, kind: Kind, limits: Limits) -> ParsedDocument:
    archive = Archive(data, limits)
    for part, (media_type, parser) in _PARTS.items():
        if part in archive.names:
            return parser(archive, replace(kind, media_type=media_type), limits)
    for part, media_type in _WORKBOOKS.items():
        if part in archive.names:
            return sheets.parse(data, replace(kind, media_type=media_type), limits)
    declared = (
        archive.read("mimetype").decode("ascii", "replace").strip() if "mimetype" in archive.names else ""
    )
    if declared == f"{_OPEN_DOCUMENT}.spreadsheet":
        return sheets.parse(data, replace(kind, media_type=declared), limits)
    if declared in _MIMETYPES:
        return _MIMETYPES[declared](archive, replace(kind, media_type=declared), limits)
    if "META-INF/container.xml" in archive.names:
        return epub.parse(archive, replace(kind, media_type="application/epub+zip"), limits)
    raise DocumentRefused("The file is an archive: add the files in it one by one.", "unsupported")
