"""Layers are unpacked once, not once for every worker.

As shipped each worker of a function writes 40 MB of the same files and compiles every module anew, which is most
of its cold start. Workers share one folder for each content of a layer; the bytecode that Python leaves beside the
modules is shared with it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import threading
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

from ministack.core import lambda_runtime

from lisa_local.emulator.bridges.seams import Bridge, Context, original, replace

_LAYER_FOLDER = "layer_"
"""How the emulator's names for a worker's unpacked layers begin."""


class _Zipfile(ModuleType):
    """The module `zipfile`, but for the class that unpacks layers."""

    def __init__(self, archive: type[zipfile.ZipFile]) -> None:
        super().__init__("zipfile")
        self.ZipFile = archive

    def __getattr__(self, name: str) -> Any:
        return getattr(zipfile, name)


def install(context: Context) -> None:
    folder = context.state / "layers-unpacked"
    lock = threading.Lock()

    class SharingArchive(zipfile.ZipFile):
        def extractall(self, path: Any = None, members: Any = None, pwd: bytes | None = None) -> None:
            target = Path(path) if path is not None else None
            if target is None or not target.name.startswith(_LAYER_FOLDER) or self.filename is None:
                super().extractall(path, members, pwd)
                return
            with open(self.filename, "rb") as archive:
                shared = folder / hashlib.file_digest(archive, "sha256").hexdigest()
            with lock:
                if not shared.exists():
                    folder.mkdir(parents=True, exist_ok=True)
                    unpacked = tempfile.mkdtemp(dir=folder)
                    super().extractall(unpacked)
                    os.rename(unpacked, shared)  # all of it or nothing, also when the power goes
            target.rmdir()
            target.symlink_to(shared, target_is_directory=True)

    original(lambda_runtime, "Worker")
    replace(lambda_runtime, "zipfile", _Zipfile(SharingArchive))
    _forget_half_unpacked(folder)


def _forget_half_unpacked(folder: Path) -> None:
    for path in folder.glob("tmp*"):
        shutil.rmtree(path, ignore_errors=True)


BRIDGE = Bridge("shared_layers", "layers are unpacked once for all workers", install)
