"""What the entrypoint needs to know of an engine, and how a model's engine arguments are checked."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from lisa_model.errors import ConfigurationError, WeightsError
from lisa_model.settings import ArgValue, Settings
from lisa_model.weights import RemoteObject, Snapshot


@dataclass(frozen=True, slots=True)
class Launch:
    """The process that the entrypoint becomes. `environment` is added to the container's."""

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


class Engine(Protocol):
    """One way to serve a model.

    Whatever runs in the end listens on HOST:PORT, answers GET `health_path` with 200 only when it serves, GET
    `metrics_path` in Prometheus' text format, and ends after SIGTERM.
    """

    name: str
    health_path: str
    metrics_path: str

    def choose(self, objects: Sequence[RemoteObject]) -> Sequence[RemoteObject]:
        """The objects it reads. Raises WeightsError when they are not weights for this engine."""
        ...

    def check(self, settings: Settings) -> None:
        """Called before anything is fetched. Raises ConfigurationError for arguments it does not know."""
        ...

    def launch(self, settings: Settings, snapshot: Snapshot) -> Launch:
        """The command that serves the snapshot. May prepare files in `snapshot.derived`."""
        ...


Check = Callable[[ArgValue], bool]


def is_true_or_false(value: ArgValue) -> bool:
    return isinstance(value, bool)


def is_whole(low: int, high: int = 1 << 31) -> Check:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def is_number(low: float, high: float) -> Check:
    return lambda value: (
        isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
    )


def is_word(value: ArgValue) -> bool:
    """A name: nothing that could be read as an option, a path or an address."""
    return (
        isinstance(value, str)
        and 0 < len(value) <= 100
        and all(c.isalnum() or c in "_.-" for c in value)
        and not value.startswith("-")
    )


def is_one_of(*words: str) -> Check:
    return lambda value: value in words


def is_object(value: ArgValue) -> bool:
    return isinstance(value, dict)


def is_file_in_weights(value: ArgValue) -> bool:
    """A relative path that stays in the model's folder."""
    return (
        isinstance(value, str)
        and bool(value)
        and not value.startswith(("/", "-"))
        and not any(part in ("", ".", "..") for part in value.split("/"))
    )


@dataclass(frozen=True, slots=True)
class Argument:
    """An engine argument that a model's definition may set: what is accepted, in words and as a check."""

    accepts: str
    check: Check


def checked_arguments(
    engine: str, known: Mapping[str, Argument], given: Mapping[str, ArgValue]
) -> dict[str, ArgValue]:
    """`given`, with names as the engine writes them. Raises ConfigurationError for the first wrong one.

    Only arguments on the list are passed on: an engine has others that load code, open ports or weaken what
    the entrypoint sets.
    """
    result = {}
    for written, value in given.items():
        name = written.removeprefix("--").replace("_", "-")
        argument = known.get(name)
        if argument is None:
            close = difflib.get_close_matches(name, known, 1)
            hint = f" Did you mean {close[0]!r}?" if close else f" Known: {', '.join(sorted(known))}."
            raise ConfigurationError(
                f"The engine {engine} does not take the argument {written!r} here.{hint}"
            )
        if not argument.check(value):
            raise ConfigurationError(
                f"The engine argument {written!r} is {value!r}: it takes {argument.accepts}."
            )
        result[name] = value
    return result


def as_options(
    arguments: Mapping[str, ArgValue], folder: Path, files: frozenset[str] = frozenset()
) -> list[str]:
    """Command line options. `files` names the arguments that are paths in the model's folder."""
    options: list[str] = []
    for name, value in arguments.items():
        if value is True:
            options.append(f"--{name}")
        elif value is False:
            options.append(f"--no-{name}")
        elif isinstance(value, dict | list):
            options.append(f"--{name}={json.dumps(value, separators=(',', ':'))}")
        elif name in files:
            options.append(f"--{name}={folder / str(value)}")
        else:
            options.append(f"--{name}={value}")
    return options


_OTHER_FORMATS = (".bin", ".pt", ".pth", ".h5", ".msgpack", ".onnx", ".gguf", ".ot")


def choose_transformers_weights(engine: str, objects: Sequence[RemoteObject]) -> Sequence[RemoteObject]:
    """Hugging Face's layout: config.json and safetensors (or PyTorch's own files), without second copies."""
    paths = {item.path for item in objects}
    if "config.json" not in paths:
        raise WeightsError(
            f"The weights have no config.json: the engine {engine} reads a Hugging Face model folder "
            f"(config.json, tokenizer, *.safetensors)."
        )
    if any(path.endswith(".safetensors") for path in paths):
        return [
            i for i in objects if not i.path.endswith(_OTHER_FORMATS) and not i.path.startswith("original/")
        ]
    if not any(path.endswith((".bin", ".pt", ".pth")) for path in paths):
        raise WeightsError(
            f"The weights have neither *.safetensors nor *.bin files: the engine {engine} needs them."
        )
    return objects
