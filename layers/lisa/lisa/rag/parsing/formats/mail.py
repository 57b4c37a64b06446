"""Messages as they are sent, with the text of what is attached."""

import email
import email.policy
from dataclasses import replace
from email.message import EmailMessage
from typing import Any

from lisa.rag.parsing import kinds
from lisa.rag.parsing.decoding import decode
from lisa.rag.parsing.document import Builder, DocumentRefused, Limits, ParsedDocument, one_line
from lisa.rag.parsing.formats import archive, html, pdf, plain, rtf, sheets, xml
from lisa.rag.parsing.kinds import Kind

_HEADERS = ("From", "To", "Cc", "Date", "Subject")
_MAX_HEADER = 500
_MAX_PARTS = 200


def parse(data: bytes, kind: Kind, limits: Limits) -> ParsedDocument:
    builder = Builder(limits, kind.media_type)
    if data.startswith(b"From "):  # a mailbox's line before each of its messages
        data = data.partition(b"\n")[2]
    message = email.message_from_bytes(data, policy=email.policy.default)
    if not isinstance(message, EmailMessage) or not message.keys():
        raise DocumentRefused("The file holds no message.", "corrupt")
    builder.title = _header(message, "Subject")
    for name in _HEADERS:
        if value := _header(message, name):
            builder.line(f"{name}: {value}")
    builder.gap()
    body = _body(message)
    if body is not None:
        _add_body(body, builder)
    for number, part in enumerate(_attached(message, body), 1):
        if number > _MAX_PARTS:
            builder.note(f"Only the first {_MAX_PARTS} attachments were read.")
            break
        _add_attachment(part, number, builder, limits)
    return builder.document()


def _header(message: EmailMessage, name: str) -> str:
    try:
        return one_line(str(message.get(name, "")))[:_MAX_HEADER]
    except (ValueError, IndexError, AttributeError, TypeError):  # the library's, for headers that are none
        return ""


def _body(message: EmailMessage) -> Any:
    try:
        return message.get_body(("plain", "html"))
    except (KeyError, AttributeError):
        return None


def _attached(message: EmailMessage, body: Any) -> list[Any]:
    """All leaves but the body and its other form."""
    leaves = [part for part in message.walk() if not part.is_multipart()]
    return [
        part
        for part in leaves
        if part is not body and (part.get_filename() or part.get_content_disposition() == "attachment")
    ]


def _bytes(part: Any) -> bytes:
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _add_body(part: Any, builder: Builder) -> None:
    data = _bytes(part)
    if part.get_content_type() == "text/html":
        html.add(_decoded(part, data, is_html=True), builder, level=1)
    else:
        builder.paragraph(_decoded(part, data, is_html=False))


def _decoded(part: Any, data: bytes, *, is_html: bool) -> str:
    charset = part.get_content_charset()
    if charset:
        try:
            return data.decode(charset)
        except (LookupError, UnicodeDecodeError):
            pass
    if not data:
        return ""
    return html.decoded(data) if is_html else decode(data)


def _add_attachment(part: Any, number: int, builder: Builder, limits: Limits) -> None:
    """Its name, and its text as far as it has any that can be read here."""
    name = one_line(part.get_filename() or "") or f"attachment {number}"
    builder.heading(2, f"Attachment: {name}")
    data = _bytes(part)
    try:
        if not data:
            raise DocumentRefused("it is empty", "empty")
        if limits.depth <= 1:
            raise DocumentRefused("it lies too deep in other messages", "too_complex")
        found = _parsed(data, name, part.get_content_type(), replace(limits, depth=limits.depth - 1))
    except DocumentRefused as refused:
        builder.note(f"Attachment {name}: {refused.message}")
        return
    except MemoryError:
        raise
    except Exception:
        builder.note(f"Attachment {name}: it is damaged.")
        return
    builder.gap()
    _adopt(found, builder)


def _parsed(data: bytes, name: str, media_type: str, limits: Limits) -> ParsedDocument:
    kind: Kind = kinds.kind_of(data, name, media_type)
    parsers = {
        "pdf": pdf.parse,
        "zip": archive.parse,
        "xls": sheets.parse,
        "rtf": rtf.parse,
        "html": html.parse,
        "xml": xml.parse,
        "mail": parse,
    }
    return parsers.get(kind.name, plain.parse)(data, kind, limits)


def _adopt(found: ParsedDocument, builder: Builder) -> None:
    """The text of an attachment with its headings, below the attachment's own."""
    builder.text(found.text)
    base = builder.length - len(found.text)
    for heading in found.headings:
        builder.mark_heading(heading.level + 2, heading.start + base, heading.text, heading.end + base)
    for note in found.notes:
        builder.note(note)
