"""The cache of one model's weights. Containers on one host share it.

    <root>/<bucket>/<name>-<hash>/      one model; the hash keeps a model named like one of our folders apart
        lock                            held while fetching, so that two containers do not fetch twice
        objects/<version>               one object's bytes; <version> is a hash of key, ETag and size
        objects/<version>.part, .done   an object on its way (download.py)
        snapshots/<id>/                 the model's folder: hard links to objects, with the objects' own names
        snapshots/<id>.json             what lies in it; written last: a snapshot without it is not complete
        snapshots/<id>.lock             held shared by every engine that reads the snapshot
        derived/<id>/                   what an engine made of it (the ONNX graph)

A new version of the weights is a new snapshot: what a running engine has open never changes under it, and
switching is one rename. Snapshots that nothing reads any more go when a newer one is there. Nothing outside
these names is touched.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lisa_model.errors import ConfigurationError, WeightsError
from lisa_model.weights.download import Download, Downloader, ObjectChangedError, Say, mb
from lisa_model.weights.objects import RemoteObject, S3Objects

_LISTINGS = 3
_VERSION = re.compile(r"^[0-9a-f]{32}$")
Choose = Callable[[Sequence[RemoteObject]], Sequence[RemoteObject]]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A complete copy of one version of the weights. It stays while `lock` is open, also across exec."""

    path: Path
    derived: Path  # exists; for what an engine makes of the weights
    lock: int


class WeightsCache:
    """`choose` picks, of all objects, those that the engine reads (it may raise WeightsError)."""

    def __init__(
        self, objects: S3Objects, root: Path, say: Say, choose: Choose = lambda objects: objects
    ) -> None:
        self._objects = objects
        prefix = objects.prefix.strip("/")
        self._base = root / objects.bucket / f"{prefix.replace('/', '--')[:80]}-{_name([prefix])[:8]}"
        self._say = say
        self._choose = choose

    def update(self) -> Snapshot:
        """The newest weights, fetched as far as they were not here."""
        try:
            for folder in ("objects", "snapshots", "derived"):
                (self._base / folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"Cannot write to the weights folder {self._base}: {error.strerror}."
            ) from error
        with self._locked():
            for _ in range(_LISTINGS):
                try:
                    return self._update()
                except ObjectChangedError as changed:
                    self._say(f"{changed} changed while it was fetched: listing again")
                except OSError as error:
                    raise WeightsError(
                        f"Cannot store the weights in {self._base}: {error.strerror}."
                    ) from error
        raise WeightsError(
            f"The weights at {self._objects.uri} keep changing: start again when the upload has ended."
        )

    def _update(self) -> Snapshot:
        items = list(self._choose(self._objects.list()))
        name = _name(f"{item.path}\0{item.etag}\0{item.size}" for item in items)
        path = self._base / "snapshots" / name
        if self._complete(path, items):
            self._say(f"{len(items)} objects ({mb(sum(i.size for i in items))}) are here already")
        else:
            self._fetch(items)
            self._assemble(path, items)
        lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(lock, fcntl.LOCK_SH)
        os.set_inheritable(lock, True)
        derived = self._base / "derived" / name
        derived.mkdir(exist_ok=True)
        self._prune(keep=name, items=items)
        return Snapshot(path, derived, lock)

    def _object_file(self, item: RemoteObject) -> Path:
        return self._base / "objects" / _name([f"{item.key}\0{item.etag}\0{item.size}"])

    def _fetch(self, items: Sequence[RemoteObject]) -> None:
        wanted = [Download(item, self._object_file(item)) for item in items]
        missing = [d for d in wanted if not (d.file.exists() and d.file.stat().st_size == d.item.size)]
        size = sum(d.item.size for d in missing)
        here = sum(
            d.file.with_suffix(".part").stat().st_blocks * 512
            for d in missing
            if d.file.with_suffix(".part").exists()
        )
        free = shutil.disk_usage(self._base).free
        if size - here > free:
            raise WeightsError(
                f"The weights need {mb(size - here)} more, {mb(free)} are free in {self._base}."
            )
        self._say(f"fetching {len(missing)} of {len(items)} objects ({mb(size)}) from {self._objects.uri}")
        if missing:
            Downloader(self._objects, self._say).fetch(missing)

    def _assemble(self, path: Path, items: Sequence[RemoteObject]) -> None:
        """Links the objects into a folder beside, then renames it."""
        building = path.with_suffix(".new")
        shutil.rmtree(building, ignore_errors=True)
        shutil.rmtree(path, ignore_errors=True)  # an incomplete or damaged one
        path.with_suffix(".json").unlink(missing_ok=True)
        shutil.rmtree(self._base / "derived" / path.name, ignore_errors=True)
        contents = {}
        for item in items:
            target = building / item.path
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(self._object_file(item), target)
            contents[item.path] = [item.size, target.stat().st_mtime_ns]
        building.rename(path)
        manifest = path.with_suffix(".json")
        manifest.with_suffix(".json.new").write_text(json.dumps(contents))
        manifest.with_suffix(".json.new").replace(manifest)

    def _complete(self, path: Path, items: Sequence[RemoteObject]) -> bool:
        """Whether the snapshot is there and its files are as they were when their checksums were compared."""
        try:
            contents = json.loads(path.with_suffix(".json").read_text())
        except (OSError, ValueError):
            return False
        damaged = [item for item in items if _stat(path / item.path) != contents.get(item.path)]
        for item in damaged:
            file = self._object_file(item)
            if _stat(file) != contents.get(
                item.path
            ):  # the same file as in the snapshot: not to be linked again
                self._say(f"{item.path} was changed on disk: fetching it again")
                file.unlink(missing_ok=True)
        return not damaged

    def _prune(self, keep: str, items: Sequence[RemoteObject]) -> None:
        """Removes older snapshots that no engine reads, and objects that only they held."""
        snapshots = self._base / "snapshots"
        used = {self._object_file(item).name for item in items}
        for manifest in snapshots.glob("*.json"):
            old = manifest.with_suffix("")
            if old.name == keep:
                continue
            with _try_exclusive(old.with_suffix(".lock")) as unread:
                if not unread:
                    continue
                manifest.unlink()
                shutil.rmtree(old, ignore_errors=True)
                shutil.rmtree(self._base / "derived" / old.name, ignore_errors=True)
                old.with_suffix(".lock").unlink(missing_ok=True)
                self._say(f"removed an older version of the weights ({old.name})")
        for file in (self._base / "objects").iterdir():
            # An older snapshot that is still read holds its objects by links of its own.
            version = file.name.split(".")[0]
            if _VERSION.match(version) and version not in used:
                file.unlink()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with (self._base / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._say("another container is fetching these weights: waiting for it")
                fcntl.flock(file, fcntl.LOCK_EX)
            yield


@contextlib.contextmanager
def _try_exclusive(path: Path) -> Iterator[bool]:
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _name(parts: Iterator[str] | Sequence[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _stat(path: Path) -> list[int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]
