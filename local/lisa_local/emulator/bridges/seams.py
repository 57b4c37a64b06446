"""How a bridge finds and replaces a private name of the emulator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from lisa_local.component import ComponentError, Settings


@dataclass(frozen=True, slots=True)
class Context:
    """What bridges are told."""

    settings: Settings
    state: Path
    seed: bytes
    """Random bytes of this process: what is derived from them cannot be guessed outside it."""
    tokens: dict[str, Any] = field(default_factory=dict)
    """Authorization token of a container -> the task it belongs to."""


@dataclass(frozen=True, slots=True)
class Bridge:
    name: str
    purpose: str
    install: Callable[[Context], None]


def original(owner: ModuleType | type | dict[str, Any], name: str) -> Any:
    """The attribute (or entry) `name` of `owner`.

    Raises:
        ComponentError: it is gone, so the bridge that asks for it no longer works.
    """
    missing = object()
    value = owner.get(name, missing) if isinstance(owner, dict) else getattr(owner, name, missing)
    if value is missing:
        label = "its table of handlers" if isinstance(owner, dict) else owner.__name__
        raise ComponentError(
            f"{label} has no {name}, which a bridge relies on: this version of ministack needs a new bridge."
        )
    return value


def replace(owner: ModuleType | type | dict[str, Any], name: str, value: Any) -> Any:
    """Put `value` in the place of `owner`'s `name`; answers what was there.

    Raises:
        ComponentError: nothing was there.
    """
    before = original(owner, name)
    if isinstance(owner, dict):
        owner[name] = value
    else:
        setattr(owner, name, value)
    return before
