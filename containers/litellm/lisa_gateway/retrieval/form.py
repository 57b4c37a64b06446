"""multipart/form-data read while it arrives: a file's bytes are never held as a whole."""

from lisa_gateway.http.incoming import Incoming
from lisa_gateway.multipart import MAX_PARTS, Part, boundary_of, part_of
from lisa_gateway.validation import refuse

MAX_HEAD_BYTES = 8 * 1024
MAX_VALUE_BYTES = 8 * 1024


class IncomingForm:
    """Its parts in order: `next` goes to one, `read` or `value` gives what is in it.

    Raises a 400 for a form that is malformed or breaks off, PayloadTooLarge for one that is too long.
    """

    def __init__(self, content_type: bytes, incoming: Incoming) -> None:
        self._delimiter = b"\r\n--" + boundary_of(content_type)
        self._incoming = incoming
        # The first delimiter has no line before it.
        self._buffer = bytearray(b"\r\n")
        self._parts = 0
        self._ended = False

    async def next(self) -> Part | None:
        """The next part, without its data; None at the end, when the whole body has been read."""
        while not self._ended and await self.read():
            pass  # what is left of the part before, or stands before the first
        if not self._ended:
            del self._buffer[: len(self._delimiter)]
            await self._fill(2)
            self._ended = self._buffer.startswith(b"--")
        if self._ended:
            while await self._incoming.read():
                pass
            return None
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise refuse(f"The form has more than {MAX_PARTS} parts.", None, "invalid_form")
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise refuse("A part of the form is malformed.", None, "invalid_form")
            await self._more()
        part = part_of(bytes(self._buffer[: end + 4]))
        del self._buffer[: end + 4]
        return part

    async def read(self) -> bytes:
        """The next piece of the part; empty at its end."""
        while True:
            at = self._buffer.find(self._delimiter)
            known = at if at >= 0 else len(self._buffer) - len(self._delimiter) + 1
            if known > 0:
                piece = bytes(self._buffer[:known])
                del self._buffer[:known]
                return piece
            if at == 0:
                return b""
            await self._more()

    async def value(self) -> str:
        """A short field's text."""
        found = bytearray()
        while piece := await self.read():
            found += piece
            if len(found) > MAX_VALUE_BYTES:
                raise refuse("A field of the form is too long.", None, "invalid_form")
        return found.decode("utf-8", "replace")

    async def _fill(self, length: int) -> None:
        while len(self._buffer) < length:
            await self._more()

    async def _more(self) -> None:
        data = await self._incoming.read()
        if not data:
            raise refuse("The form is not complete.", None, "invalid_form")
        self._buffer += data
