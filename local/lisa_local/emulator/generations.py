"""State files in two generations, so that a damaged one never becomes an empty service.

The emulator starts a service empty when its file does not parse, and the next save overwrites the file. Here
the file before the last stays beside it, is used when the newer one is damaged, and when both are, the
emulator does not start.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from pathlib import Path

from lisa_local.component import ComponentError

logger = logging.getLogger("lisa.emulator.state")

PREVIOUS = ".previous"
DAMAGED = ".damaged"


def recover(folder: Path) -> None:
    """Make every state file in `folder`/state readable, from its previous generation where needed.

    Raises:
        ComponentError: a file and its previous generation are both damaged.
    """
    state = folder / "state"
    for path in sorted(state.glob("*.json")):
        if _readable(path):
            continue
        previous = path.with_name(path.name + PREVIOUS)
        if not _readable(previous):
            raise ComponentError(
                f"{path} is damaged and so is the copy before it: put back a copy of {state}, "
                "or start afresh with `lisa reset`."
            )
        os.replace(path, path.with_name(path.name + DAMAGED))
        os.link(previous, path)
        logger.warning("%s was damaged: went back to the copy saved before it; what came later is lost", path)


def _readable(path: Path) -> bool:
    try:
        with path.open() as file:
            return isinstance(json.load(file), dict)
    except (OSError, ValueError):
        return False


class StateWriter:
    """Writes state files; a file whose content did not change is left alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written: dict[str, bytes] = {}

    def write(self, service: str, text: str) -> bool:
        """Replace a service's file, keeping the one before; True if it was written.

        Raises:
            OSError: the file could not be written; the one before is untouched.
        """
        digest = hashlib.sha256(text.encode()).digest()
        path = self._folder / f"{service}.json"
        if self._written.get(service) == digest and path.exists():
            return False
        partial = path.with_name(path.name + ".partial")
        try:
            with partial.open("w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            partial.unlink(missing_ok=True)
            raise
        if path.exists():
            # A link first: there is a readable file under the name at every moment.
            spare = path.with_name(path.name + ".spare")
            spare.unlink(missing_ok=True)
            os.link(path, spare)
            os.replace(spare, path.with_name(path.name + PREVIOUS))
        os.replace(partial, path)
        self._written[service] = digest
        return True
