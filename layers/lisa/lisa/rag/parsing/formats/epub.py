"""E-books: chapters in the order of the spine."""

import posixpath
from urllib.parse import unquote

from lisa.rag.parsing.archives import Archive
from lisa.rag.parsing.document import Builder, DocumentRefused, Limits, ParsedDocument, one_line
from lisa.rag.parsing.formats import html
from lisa.rag.parsing.formats.xml import read
from lisa.rag.parsing.kinds import Kind

_ROOT_FILE = "{urn:oasis:names:tc:opendocument:xmlns:container}rootfile"
OPF = "{http://www.idpf.org/2007/opf}"
_TITLE = ".//{http://purl.org/dc/elements/1.1/}title"
_CHAPTER_TYPES = ("application/xhtml+xml", "text/html")
_FONTS = (b"http://www.idpf.org/2008/embedding", b"http://ns.adobe.com/pdf/enc#RC")


def parse(archive: Archive, kind: Kind, limits: Limits) -> ParsedDocument:
    builder = Builder(limits, kind.media_type)
    _refuse_encrypted(archive)
    root_file = read(archive.read("META-INF/container.xml")).find(f".//{_ROOT_FILE}")
    if root_file is None:
        raise DocumentRefused("The e-book is damaged: it does not say where its contents are.", "corrupt")
    path = root_file.get("full-path", "")
    package = read(archive.read(path))
    builder.title = one_line(package.findtext(_TITLE) or "")
    items = {
        item.get("id", ""): item.get("href", "")
        for item in package.iter(f"{OPF}item")
        if item.get("media-type") in _CHAPTER_TYPES and "nav" not in item.get("properties", "").split()
    }
    folder = posixpath.dirname(path)
    for reference in package.iter(f"{OPF}itemref"):
        href = items.get(reference.get("idref", ""))
        if href is None:
            continue
        chapter = posixpath.normpath(posixpath.join(folder, unquote(href.partition("#")[0])))
        if chapter not in archive.names:
            builder.note(f"The chapter {chapter[:100]} is missing.")
            continue
        builder.gap()
        html.add(html.decoded(archive.read(chapter)), builder)
    return builder.document()


def _refuse_encrypted(archive: Archive) -> None:
    if "META-INF/encryption.xml" not in archive.names:
        return
    declared = archive.read("META-INF/encryption.xml")
    fonts = sum(declared.count(algorithm) for algorithm in _FONTS)
    if (
        declared.count(b"EncryptionMethod") > fonts
    ):  # embedded fonts are often obfuscated in books that anyone may read
        raise DocumentRefused("The e-book is protected (DRM): add one that is not.", "encrypted")
