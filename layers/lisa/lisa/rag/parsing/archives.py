"""Zip archives that may be hostile."""

import io
import zipfile
import zlib

from lisa.rag.parsing.document import DocumentRefused, Limits

_MAX_ENTRIES = 20_000
_ENCRYPTED_FLAG = 1


class Archive:
    """Reads the members of an archive that unpacks to no more than the limits allow.

    Raises DocumentRefused: for one that is larger, encrypted or damaged.
    """

    def __init__(self, data: bytes, limits: Limits) -> None:
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError):
            raise DocumentRefused(
                "The file is damaged: its end or a part of it is missing.", "corrupt"
            ) from None
        members = self._zip.infolist()
        if len(members) > _MAX_ENTRIES:
            raise DocumentRefused(f"The file holds more than {_MAX_ENTRIES:,} parts.", "zip_bomb")
        # No member unpacks to more than it says it does: zipfile stops reading there.
        if sum(member.file_size for member in members) > limits.unpacked_bytes:
            raise DocumentRefused(
                f"The file unpacks to more than {limits.unpacked_bytes / (1 << 20):,.0f} MiB.", "zip_bomb"
            )
        self.names = frozenset(member.filename for member in members)

    def read(self, name: str) -> bytes:
        try:
            member = self._zip.getinfo(name)
            if member.flag_bits & _ENCRYPTED_FLAG:
                raise DocumentRefused(
                    "The file is protected by a password: remove it and add the file again.", "encrypted"
                )
            return self._zip.read(member)
        except KeyError:
            raise DocumentRefused(
                f"The file is damaged: its part {name[:100]} is missing.", "corrupt"
            ) from None
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError):
            raise DocumentRefused(
                "The file is damaged: a part of it cannot be unpacked.", "corrupt"
            ) from None
