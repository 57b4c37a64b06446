"""State files are written in two generations, and large values apart from them.

The emulator's own writer neither syncs nor keeps what was there before. Layers' archives are encoded into the
state file with each save: here every large value is a file of its own, named by its digest and written once.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from pathlib import Path
from typing import Any

from ministack import app
from ministack.core import persistence

from lisa_local.component import ComponentError
from lisa_local.emulator.bridges.seams import Bridge, Context, original, replace
from lisa_local.emulator.generations import StateWriter

logger = logging.getLogger("lisa.emulator.state")

BLOB = "__lisa_blob__"

BLOB_BYTES = 64 * 1024
"""Values from this size on are kept apart."""

_REMEMBERED = 64


class Blobs:
    """Large values of the state, by digest."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # By identity, for digesting large values costs time at each save; only the latest are remembered.
        self._names: dict[int, tuple[bytes, str]] = {}

    def store(self, value: bytes) -> str:
        known = self._names.get(id(value))
        if known is not None and known[0] is value:
            return known[1]
        digest = hashlib.sha256(value).hexdigest()
        path = self._folder / digest
        if not path.exists():
            self._folder.mkdir(exist_ok=True, mode=0o700)
            partial = path.with_name(digest + ".partial")
            partial.write_bytes(value)
            partial.replace(path)
        self._remember(value, digest)
        return digest

    def _remember(self, value: bytes, digest: str) -> None:
        self._names[id(value)] = (value, digest)
        if len(self._names) > _REMEMBERED:
            del self._names[next(iter(self._names))]

    def prune(self, state: Path) -> None:
        """Remove what no state file names any more; before the state is loaded."""
        if not self._folder.is_dir():
            return
        named = {
            digest
            for path in state.glob("*.json*")
            for digest in re.findall(rf'"{BLOB}": "([0-9a-f]{{64}})"', path.read_text(errors="replace"))
        }
        for path in self._folder.iterdir():
            if path.name not in named:
                path.unlink()

    def load(self, digest: str) -> bytes:
        path = self._folder / digest
        try:
            value = path.read_bytes()
        except OSError as error:
            raise ComponentError(
                f"{path}, a part of the saved state, cannot be read ({error.strerror}): "
                "start afresh with `lisa reset`."
            ) from None
        if hashlib.sha256(value).hexdigest() != digest:
            raise ComponentError(
                f"{path}, a part of the saved state, is damaged: start afresh with `lisa reset`."
            )
        self._remember(value, digest)
        return value


def load_persisted_state() -> None:
    """Give every service its saved state.

    Raises:
        ComponentError: a service does not take it. As shipped such a service starts empty, and the next save
            makes that final.
    """
    for service, module in original(app, "_state_map").items():
        state = persistence.load_state(service)
        if not state:
            continue
        try:
            app._get_module(module).load_persisted_state(state)
        except Exception as error:
            raise ComponentError(
                f"the saved state of {service} does not load ({error!r}): start afresh with `lisa reset`."
            ) from error


def install(context: Context) -> None:
    blobs = Blobs(context.state / "blobs")
    writer = StateWriter(context.state / "state")
    encode = original(persistence, "_json_default")
    decode = original(persistence, "_json_object_hook")
    version_of = original(persistence, "_state_format_version")
    blobs.prune(context.state / "state")

    def json_default(value: Any) -> Any:
        if isinstance(value, bytes) and len(value) >= BLOB_BYTES:
            return {BLOB: blobs.store(value)}
        return encode(value)

    def json_object_hook(value: dict[str, Any]) -> Any:
        if BLOB in value:
            return blobs.load(value[BLOB])
        return decode(value)

    def save_state(service: str, data: Any) -> None:
        wrapped = {"__ministack_format__": version_of(service), "payload": data}
        try:
            writer.write(service, json.dumps(wrapped, default=json_default))
        except (OSError, TypeError, ValueError, RuntimeError) as error:
            logger.error("the state of %s could not be saved: %s", service, error)

    replace(persistence, "_json_default", json_default)
    replace(persistence, "_json_object_hook", json_object_hook)
    replace(persistence, "save_state", save_state)
    replace(app, "_load_persisted_state", load_persisted_state)


BRIDGE = Bridge("state-files", "state is saved in two generations", install)
