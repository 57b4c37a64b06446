"""XML of any vocabulary: the text of its elements, and safe ways to read XML for the formats that are made of it."""

import re
from collections.abc import Iterator
from typing import Any

from lxml import etree

from lisa.rag.parsing.document import Builder, DocumentRefused, Limits, ParsedDocument, one_line
from lisa.rag.parsing.kinds import Kind

_MAX_DEPTH = 200
_DOCTYPE = re.compile(rb"<!DOCTYPE[^>\[]{0,2000}\[")
_PROLOG_BYTES = 64 << 10
_MAX_ATTRIBUTE = 200


def parser() -> "etree.XMLParser":
    """Neither entities nor anything from outside; what is too deep or too large is an error."""
    return etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)


def read(data: bytes) -> "etree._Element":
    """The root. Raises DocumentRefused for entities of the file's own, and XMLSyntaxError."""
    doctype = _DOCTYPE.search(data, 0, _PROLOG_BYTES)
    if doctype is not None and data.find(b"<!ENTITY", doctype.end(), doctype.end() + _PROLOG_BYTES) != -1:
        raise _entities()
    root = etree.fromstring(data, parser())
    dtd = root.getroottree().docinfo.internalDTD
    if dtd is not None and next(dtd.iterentities(), None) is not None:
        raise _entities()
    return root


def _entities() -> DocumentRefused:
    return DocumentRefused(
        "The file declares XML entities, which are not expanded here: remove them.", "unsafe"
    )


def local_name(element: "etree._Element") -> str:
    return str(element.tag).rpartition("}")[2] if isinstance(element.tag, str) else ""


def parse(data: bytes, kind: Kind, limits: Limits) -> ParsedDocument:
    builder = Builder(limits, kind.media_type)
    try:
        root = read(data)
    except etree.XMLSyntaxError as error:
        raise DocumentRefused(
            f"The file is no well-formed XML: {one_line(error.msg or '')[:200]}", "corrupt"
        ) from None
    for event, element, depth in _walk(root):
        if event == "inline":
            builder.line(_named(element, one_line("".join(element.itertext()))))
        elif event == "start":
            builder.line(_named(element, one_line(element.text or "")))
        else:
            builder.line(one_line(element.tail or ""))
        if depth > _MAX_DEPTH:
            raise DocumentRefused("The file is nested too deep to be read.", "too_complex")
    return builder.document()


def _walk(root: "etree._Element") -> Iterator[tuple[str, Any, int]]:
    """`inline`: an element whose text is one run; `start`: one that holds others; `end`: what follows an element."""
    depth = 0
    skipped: etree._Element | None = None
    for event, element in etree.iterwalk(root, events=("start", "end")):
        if skipped is not None:
            if event == "end" and element is skipped:
                skipped = None
                if element is not root:
                    yield "end", element, depth
            continue
        if event == "start":
            depth += 1
            if _is_run(element):
                skipped, depth = element, depth - 1
                yield "inline", element, depth
            else:
                yield "start", element, depth
        else:
            depth -= 1
            if element is not root:
                yield "end", element, depth


def _is_run(element: "etree._Element") -> bool:
    """Without elements in it, or with words between them: a paragraph with emphasis, say."""
    if len(element) == 0:
        return True
    return any((child.tail or "").strip() for child in element) and all(len(child) == 0 for child in element)


def _named(element: "etree._Element", text: str) -> str:
    """`name attribute=value: text`, as far as there is something to say."""
    values = [
        f"{name.rpartition('}')[2]}={one_line(value)[:_MAX_ATTRIBUTE]}"
        for name, value in element.attrib.items()
        if "://" not in value
    ]
    name = local_name(element)
    if not text and not values:
        return ""
    label = " ".join([name, *values]) if values else name
    return f"{label}: {text}" if text else label
