"""llama.cpp on CPUs, from the wheel `xllamacpp`: text generation from one GGUF file."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

from lisa_model.engines.base import (
    Argument,
    Launch,
    checked_arguments,
    is_file_in_weights,
    is_one_of,
    is_whole,
)
from lisa_model.errors import ConfigurationError, WeightsError
from lisa_model.settings import Settings
from lisa_model.weights import RemoteObject, Snapshot

# llama.cpp takes a model's own limit when it is smaller, so this only bounds the memory of those with a
# larger one.
_DEFAULT_CONTEXT = 8192
_MAGIC = b"GGUF"
_SHARD = re.compile(r"-(\d{5})-of-\d{5}\.gguf$")

_ARGUMENTS = {
    "file": Argument("the path of a .gguf file among the weights", is_file_in_weights),
    "parallel": Argument("the number of requests served at once, 1 to 64", is_whole(1, 64)),
    "threads": Argument("a number of threads, 1 to 256", is_whole(1, 256)),
    "max-tokens": Argument(
        "the length of an answer whose request sets none, 1 to 1048576 tokens", is_whole(1, 1_048_576)
    ),
    "batch-size": Argument("a number of tokens, 32 to 8192", is_whole(32, 8192)),
    "cache-type": Argument("f16 or q8_0 (half the memory for the context)", is_one_of("f16", "q8_0")),
    "chat-template": Argument("the path of a Jinja file among the weights", is_file_in_weights),
}


class LlamaCpp:
    """Speaks chat completions, completions, responses, messages and messages/count_tokens."""

    name = "llamacpp"
    health_path = "/health"
    metrics_path = "/metrics"

    def choose(self, objects: Sequence[RemoteObject]) -> Sequence[RemoteObject]:
        if not any(item.path.endswith(".gguf") for item in objects):
            raise WeightsError(
                "The weights have no .gguf file: the engine llamacpp reads GGUF (convert them, or use vllm)."
            )
        return [item for item in objects if item.path.endswith((".gguf", ".jinja"))]

    def check(self, settings: Settings) -> None:
        if settings.model_type != "textgen":
            raise ConfigurationError(
                f"The engine llamacpp serves textgen, not {settings.model_type}: use onnx, tei or vllm."
            )
        checked_arguments(self.name, _ARGUMENTS, settings.engine_args)

    def launch(self, settings: Settings, snapshot: Snapshot) -> Launch:
        arguments = checked_arguments(self.name, _ARGUMENTS, settings.engine_args)
        model = snapshot.path / self._file(snapshot, arguments.pop("file", None))
        with model.open("rb") as file:
            if file.read(4) != _MAGIC:
                raise WeightsError(f"{model.name} is not a GGUF file, in spite of its name: upload it again.")
        command = [sys.executable, "-m", "lisa_model.llamacpp_server"]
        command += [f"--model={model}", f"--alias={settings.model_id}"]
        command += [f"--host={settings.host}", f"--port={settings.port}"]
        command += [f"--context={settings.context_window or _DEFAULT_CONTEXT}"]
        template = arguments.pop("chat-template", None)
        if template is not None:
            path = snapshot.path / str(template)
            if not path.is_file():
                raise ConfigurationError(
                    f"The engine argument 'chat-template' names {template!r}: there is no such file."
                )
            command.append(f"--chat-template={path}")
        command += [f"--{name}={value}" for name, value in arguments.items()]
        return Launch(tuple(command))

    def _file(self, snapshot: Snapshot, wanted: object) -> str:
        names = sorted(str(path.relative_to(snapshot.path)) for path in snapshot.path.rglob("*.gguf"))
        if wanted is not None:
            if wanted not in names:
                raise ConfigurationError(
                    f"The engine argument 'file' is {wanted!r}: there is {', '.join(names)}."
                )
            return str(wanted)
        # A model in shards is loaded by its first; a projector for images is no model.
        models = [
            name
            for name in names
            if not _further_shard(name) and not name.split("/")[-1].startswith("mmproj")
        ]
        if len(models) != 1:
            raise WeightsError(
                f"The weights hold {len(names)} .gguf files ({', '.join(names)[:200]}): "
                "name one with the engine argument 'file'."
            )
        return models[0]


def _further_shard(name: str) -> bool:
    shard = _SHARD.search(name)
    return shard is not None and int(shard[1]) > 1
