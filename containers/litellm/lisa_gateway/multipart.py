"""multipart/form-data (RFC 7578), parsed to be judged and written anew.

The caller's own bytes are not passed on: two parsers may read an odd body differently, and then the model
that was allowed would not be the model that is used.
"""

import re
import secrets
from dataclasses import dataclass

from lisa.errors import LisaError

from lisa_gateway.validation import refuse

MAX_PARTS = 64

_BOUNDARY = re.compile(
    rb'^multipart/form-data\s*;.*?boundary=(?:"([^"\r\n]{1,70})"|([^\s";,]{1,70}))\s*$', re.I
)
_PARAMETER = re.compile(rb';\s*(name|filename)="((?:[^"\\\r\n]|\\.)*)"', re.I)


@dataclass(frozen=True, slots=True)
class Part:
    name: str
    filename: str | None
    content_type: bytes
    data: bytes


class Form:
    def __init__(self, parts: list[Part]) -> None:
        self.parts = parts
        self._boundary = b"lisa-" + secrets.token_hex(16).encode()

    @property
    def content_type(self) -> bytes:
        return b"multipart/form-data; boundary=" + self._boundary

    def names(self) -> list[str]:
        return [part.name for part in self.parts]

    def model(self) -> str:
        """The one field `model`; raises a 400 when there are several, a 404 when there is none."""
        found = [part.data for part in self.parts if part.name == "model" and part.filename is None]
        if len(found) > 1:
            raise refuse("`model` was sent more than once.", "model", "invalid_value")
        name = found[0].decode("utf-8", "replace").strip() if found else ""
        if not name:
            raise LisaError(
                "You must say which `model` to use.", code="model_not_found", status=404, field="model"
            )
        return name

    def encode(self) -> bytes:
        pieces = []
        for part in self.parts:
            head = (
                f'--{self._boundary.decode()}\r\ncontent-disposition: form-data; name="{_quoted(part.name)}"'
            )
            if part.filename is not None:
                head += f'; filename="{_quoted(part.filename)}"'
            pieces.append(head.encode())
            if part.content_type:
                pieces.append(b"\r\ncontent-type: " + part.content_type)
            pieces += [b"\r\n\r\n", part.data, b"\r\n"]
        pieces.append(b"--" + self._boundary + b"--\r\n")
        return b"".join(pieces)


def boundary_of(content_type: bytes) -> bytes:
    """Raises a 400 when the header names none."""
    match = _BOUNDARY.match(content_type)
    if match is None:
        raise refuse("The body must be multipart/form-data with a boundary.", None, "invalid_form")
    return match[1] or match[2]


def parse(content_type: bytes, body: bytes) -> Form:
    """Raises a 400 when it is not a well-formed form."""
    delimiter = b"--" + boundary_of(content_type)
    sections = (b"\r\n" + body).split(b"\r\n" + delimiter)
    if len(sections) < 2 or not sections[-1].startswith(b"--"):
        raise refuse("The form is not complete.", None, "invalid_form")
    if len(sections) - 2 > MAX_PARTS:
        raise refuse(f"The form has more than {MAX_PARTS} parts.", None, "invalid_form")
    return Form([part_of(section) for section in sections[1:-1]])


def part_of(section: bytes) -> Part:
    """A part from what stands between two delimiters; raises a 400 when it is malformed."""
    head, separator, data = section.partition(b"\r\n\r\n")
    if not separator or not head.startswith(b"\r\n"):
        raise refuse("A part of the form is malformed.", None, "invalid_form")
    parameters: dict[str, str] = {}
    content_type = b""
    for line in head[2:].split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-disposition":
            if not value.strip().lower().startswith(b"form-data"):
                raise refuse("A part of the form is malformed.", None, "invalid_form")
            for key, text in _PARAMETER.findall(value):
                parameters[key.decode().lower()] = re.sub(rb"\\(.)", rb"\1", text).decode("utf-8", "replace")
        elif name.lower() == b"content-type":
            content_type = value.strip()
    if "name" not in parameters or any(c in content_type for c in b"\r\n\0"):
        raise refuse("A part of the form has no name.", None, "invalid_form")
    return Part(parameters["name"], parameters.get("filename"), content_type, data)


def _quoted(text: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f]", "_", text).replace("\\", "\\\\").replace('"', '\\"')
