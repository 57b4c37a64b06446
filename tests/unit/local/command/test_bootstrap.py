"""The setup that runs before any environment exists: what it repeats, what it explains."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def bootstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module, looking at a checkout of its own."""
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / "local" / "bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "bootstrap", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "LOGS", tmp_path / "logs")
    (tmp_path / "requirements").mkdir()
    for name in ("local.txt", "dev.txt", "gateway.txt", "model.txt", "weights.txt", "sam.txt"):
        (tmp_path / "requirements" / name).write_text("# nothing to install\n")
    (tmp_path / "pyproject.toml").write_text("")
    return module


def _sam(bootstrap: ModuleType) -> object:
    return next(each for each in bootstrap.environments(dev=False) if each.folder == ".venvs/sam")


def test_an_environment_is_installed_once_for_each_state_of_its_lock(bootstrap: ModuleType) -> None:
    # Given
    environment = _sam(bootstrap)
    lock = bootstrap.ROOT / "requirements" / "sam.txt"

    # When it is installed from nothing
    assert environment.outdated()
    bootstrap.Installer().install(environment)

    # Then it is not installed again
    assert environment.python.exists()
    assert not environment.outdated()

    # When its lock changes
    lock.write_text("# something else\n")

    # Then only that is installed
    assert [layer.name for layer in environment.outdated()] == ["sam"]
    bootstrap.Installer().install(environment)
    assert not environment.outdated()

    # When an installation fails
    lock.write_text("this is no requirement\n")
    with pytest.raises(bootstrap.SetupError) as raised:
        bootstrap.Installer().install(environment)

    # Then the cause is named and the environment does not count as installed
    assert "Invalid requirement" in str(raised.value)
    lock.write_text("# something else\n")
    assert environment.outdated()


def test_an_interrupted_installation_is_made_anew(bootstrap: ModuleType) -> None:
    # Given an environment without a stamp, with half a package in it
    environment = _sam(bootstrap)
    environment.python.parent.mkdir(parents=True)
    leftover = environment.path / "half-a-package"
    leftover.touch()

    # When
    bootstrap.Installer().install(environment)

    # Then
    assert not leftover.exists()
    assert not environment.outdated()


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("The virtual environment was not created: ensurepip is not available", "no venv module"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE", "not to be trusted"),
        ("NewConnectionError: refused\nERROR: No matching distribution found for x", "cannot be reached"),
        ("ERROR: something else", "something else"),
    ],
)
def test_failures_are_explained(bootstrap: ModuleType, log: str, words: str) -> None:
    path = bootstrap.ROOT / "pip.log"
    path.write_text(log)
    assert words in bootstrap.explain(path)


def test_too_little_disk_is_said_before_anything_is_installed(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "NEEDED_BYTES", 10**18)
    with pytest.raises(bootstrap.SetupError, match="disk is full"):
        bootstrap.prepare(dev=False)
    assert not (bootstrap.ROOT / ".venv").exists()


def _find_python(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(ROOT / "local" / "python.sh")],
        cwd=tmp_path,
        env={"PATH": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def _stand_in(path: Path, version: str, *, suitable: bool) -> None:
    path.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && echo "Python {version}" && exit 0\nexit {0 if suitable else 1}\n'
    )
    path.chmod(0o755)


def test_a_python_that_is_too_old_is_one_sentence(tmp_path: Path) -> None:
    _stand_in(tmp_path / "python3", "3.9.2", suitable=False)
    result = _find_python(tmp_path)
    assert result.returncode == 1
    assert "LISA needs Python 3.11, 3.12 or 3.13, but python3 is Python 3.9.2." in result.stderr
    assert "make up PYTHON=" in result.stderr


def test_another_suitable_python_on_the_path_is_found(tmp_path: Path) -> None:
    _stand_in(tmp_path / "python3", "3.14.0", suitable=False)
    _stand_in(tmp_path / "python3.12", "3.12.1", suitable=True)
    assert _find_python(tmp_path).stdout == "python3.12\n"


def test_a_named_python_is_used_and_none_else(tmp_path: Path) -> None:
    _stand_in(tmp_path / "python3.12", "3.12.1", suitable=True)
    result = _find_python(tmp_path, PYTHON="/nowhere/python")
    assert result.returncode == 1
    assert "/nowhere/python cannot be run" in result.stderr


def test_no_python_at_all_is_said(tmp_path: Path) -> None:
    result = _find_python(tmp_path)
    assert result.returncode == 1
    assert "no Python is on the PATH" in result.stderr
