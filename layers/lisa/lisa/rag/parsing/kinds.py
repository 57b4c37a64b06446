"""What a file is: by its content first, then by its name, then by what it was declared to be."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from lisa.rag.parsing.document import DocumentRefused

HEAD_BYTES = 4096

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
# Streams of old Office's files, as their directories name them.
_OLE_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
_OLE_WORKBOOKS = ("Workbook".encode("utf-16-le"), "Book".encode("utf-16-le"))

# What is recognised only to be refused by name.
_FOREIGN = (
    (b"\x89PNG\r\n\x1a\n", "a picture (PNG)"),
    (b"\xff\xd8\xff", "a picture (JPEG)"),
    (b"GIF8", "a picture (GIF)"),
    (b"BM", "a picture (BMP)"),
    (b"II*\x00", "a picture (TIFF)"),
    (b"MM\x00*", "a picture (TIFF)"),
    (b"RIFF", "sound, video or a picture (RIFF)"),
    (b"ID3", "sound (MP3)"),
    (b"OggS", "sound or video (Ogg)"),
    (b"fLaC", "sound (FLAC)"),
    (b"\x1aE\xdf\xa3", "video (Matroska)"),
    (b"\x1f\x8b", "compressed (gzip)"),
    (b"BZh", "compressed (bzip2)"),
    (b"\xfd7zXZ\x00", "compressed (xz)"),
    (b"\x28\xb5\x2f\xfd", "compressed (zstd)"),
    (b"7z\xbc\xaf\x27\x1c", "an archive (7z)"),
    (b"Rar!\x1a\x07", "an archive (RAR)"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"\xca\xfe\xba\xbe", "a program"),
    (b"SQLite format 3\x00", "a database (SQLite)"),
    (b"PAR1", "a table (Parquet)"),
)
_SHORT_SIGN = 2
"""So short a sign may be the beginning of a text; then a NUL near it decides."""


@dataclass(frozen=True, slots=True)
class Kind:
    """`name` chooses the parser. `syntax` is set for source code and the like.

    `promised` is what the file's name says that its content is not.
    """

    name: str
    media_type: str
    syntax: str = ""
    promised: str = ""


PDF = Kind("pdf", "application/pdf")
ZIP = Kind("zip", "application/zip")
RTF = Kind("rtf", "application/rtf")
XLS = Kind("xls", "application/vnd.ms-excel")
HTML = Kind("html", "text/html")
XML = Kind("xml", "application/xml")
MAIL = Kind("mail", "message/rfc822")
CSV = Kind("csv", "text/csv")
JSON = Kind("json", "application/json", "json")
MARKDOWN = Kind("markdown", "text/markdown", "markdown")
TEXT = Kind("text", "text/plain")

# Syntaxes are the names of langchain-text-splitters' languages where it has one.
_CODE = {
    "c": "c",
    "h": "c",
    "cc": "cpp",
    "cpp": "cpp",
    "cxx": "cpp",
    "hpp": "cpp",
    "cs": "csharp",
    "css": "css",
    "dart": "dart",
    "ex": "elixir",
    "exs": "elixir",
    "go": "go",
    "hs": "haskell",
    "java": "java",
    "js": "js",
    "jsx": "js",
    "mjs": "js",
    "kt": "kotlin",
    "kts": "kotlin",
    "lua": "lua",
    "php": "php",
    "pl": "perl",
    "pm": "perl",
    "proto": "proto",
    "ps1": "powershell",
    "py": "python",
    "pyi": "python",
    "r": "r",
    "rb": "ruby",
    "rs": "rust",
    "rst": "rst",
    "scala": "scala",
    "sh": "shell",
    "bash": "shell",
    "sol": "sol",
    "sql": "sql",
    "swift": "swift",
    "tex": "latex",
    "tf": "hcl",
    "ts": "ts",
    "tsx": "ts",
    "vb": "visualbasic6",
    "toml": "toml",
    "ini": "ini",
    "cfg": "ini",
    "properties": "ini",
    "dockerfile": "dockerfile",
    "makefile": "makefile",
}
_BY_ENDING = {
    "pdf": PDF,
    "rtf": RTF,
    "xls": XLS,
    **dict.fromkeys(("docx", "pptx", "xlsx", "xlsm", "xlsb", "epub", "odt", "ods", "odp"), ZIP),
    **dict.fromkeys(("html", "htm", "xhtml"), HTML),
    **dict.fromkeys(("xml", "xsd", "xsl", "svg", "rss", "atom"), XML),
    **dict.fromkeys(("eml", "mbox"), MAIL),
    **dict.fromkeys(("csv", "tsv"), CSV),
    **dict.fromkeys(("md", "markdown", "mdx", "mkd"), MARKDOWN),
    "json": JSON,
    **dict.fromkeys(("jsonl", "ndjson"), Kind("text", "application/x-ndjson", "json")),
    **dict.fromkeys(("yaml", "yml"), Kind("text", "application/yaml", "yaml")),
    **dict.fromkeys(("txt", "text", "log"), TEXT),
    **{ending: Kind("text", "text/x-source", syntax) for ending, syntax in _CODE.items()},
}
_BY_MEDIA_TYPE = {
    "text/html": HTML,
    "application/xhtml+xml": HTML,
    "application/xml": XML,
    "text/xml": XML,
    "message/rfc822": MAIL,
    "text/csv": CSV,
    "text/tab-separated-values": CSV,
    "text/markdown": MARKDOWN,
    "application/json": JSON,
    "application/yaml": _BY_ENDING["yaml"],
    "application/pdf": PDF,
    "application/rtf": RTF,
    "text/rtf": RTF,
}
_PROMISED = {"pdf": "a PDF", "zip": "a document of that kind", "xls": "a workbook", "rtf": "RTF"}

_HTML = re.compile(rb"<!doctype\s+html|<html[\s>]", re.IGNORECASE)
_XML = re.compile(rb"<\?xml[\s?]")
_HEADER = re.compile(
    rb"^(?:received|return-path|from|to|subject|date|message-id|mime-version|delivered-to):\s", re.I
)


def kind_of(data: bytes, name: str, media_type: str = "") -> Kind:
    """Raises DocumentRefused for what is recognised and not taken, and for what is not what its name says."""
    head = data[:HEAD_BYTES]
    by_name = _BY_ENDING.get(ending_of(name))
    if b"%PDF-" in head[:1024]:
        return PDF
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return ZIP
    if head.startswith(OLE):
        return _old_office(data)
    if head.startswith(b"{\\rtf"):
        return RTF
    _refuse_foreign(head)
    told = by_name or _BY_MEDIA_TYPE.get(media_type.partition(";")[0].strip().lower())
    if told is not None and told.name in _PROMISED:
        # What is text all the same is taken as text; the decoder refuses the rest.
        told = Kind("text", "text/plain", promised=_PROMISED[told.name])
    return _text_kind(head, told)


def ending_of(name: str) -> str:
    """`md` of `docs/README.md`, `makefile` of `src/Makefile`."""
    path = PurePosixPath(name.replace("\\", "/").lower())
    return path.suffix[1:] if path.suffix else path.name


def _old_office(data: bytes) -> Kind:
    if _OLE_ENCRYPTED in data:
        raise DocumentRefused(
            "The file is protected by a password: remove it and add the file again.", "encrypted"
        )
    if any(stream in data for stream in _OLE_WORKBOOKS):
        return XLS
    raise DocumentRefused(
        "The file is of an old Office format (such as .doc, .ppt, .msg): save it as .docx, .pptx or .eml.",
        "unsupported",
    )


def _refuse_foreign(head: bytes) -> None:
    for sign, what in _FOREIGN:
        if head.startswith(sign) and (len(sign) > _SHORT_SIGN or b"\x00" in head[:64]):
            raise DocumentRefused(f"The file is {what}, which holds no text to search.", "unsupported")
    if head[4:8] == b"ftyp":
        raise DocumentRefused(
            "The file is video or a picture (MP4), which holds no text to search.", "unsupported"
        )


def _text_kind(head: bytes, told: Kind | None) -> Kind:
    start = (
        head.removeprefix(b"\xef\xbb\xbf")
        .replace(b"\x00", b"")
        .removeprefix(b"\xff\xfe")
        .removeprefix(b"\xfe\xff")
    )
    start = start.lstrip()
    if told is not None and told != TEXT and not told.promised:
        return told
    if _HTML.match(start) or (_XML.match(start) and _HTML.search(start)):
        return HTML
    if _XML.match(start):
        return XML
    lines = start.splitlines()
    headers = 0
    for line in lines:
        if not _HEADER.match(line) and not line[:1].isspace():
            break
        headers += 1
    if headers >= 3 and _HEADER.match(lines[0]):
        return MAIL
    return told or TEXT
