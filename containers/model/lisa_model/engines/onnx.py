"""ONNX Runtime on CPUs: sentence embeddings with a BERT encoder, from a Hugging Face model folder."""

from __future__ import annotations

import fcntl
import sys
import time
from collections.abc import Sequence

from lisa_model.engines.base import Argument, Launch, checked_arguments, is_true_or_false, is_whole
from lisa_model.errors import ConfigurationError, WeightsError
from lisa_model.settings import Settings
from lisa_model.weights import RemoteObject, Snapshot

_NEEDED = ("config.json", "tokenizer.json", "model.safetensors")
_ALSO_READ = ("modules.json", "sentence_bert_config.json", "1_Pooling/config.json")

_ARGUMENTS = {
    "threads": Argument("a number of threads, 1 to 256", is_whole(1, 256)),
    "max-batch-tokens": Argument("a number of tokens, 512 to 65536", is_whole(512, 65536)),
    "truncate": Argument(
        "true or false (whether a text over the limit is cut, instead of refused)", is_true_or_false
    ),
}


class Onnx:
    """Speaks embeddings."""

    name = "onnx"
    health_path = "/health"
    metrics_path = "/metrics"

    def choose(self, objects: Sequence[RemoteObject]) -> Sequence[RemoteObject]:
        paths = {item.path for item in objects}
        missing = [name for name in _NEEDED if name not in paths]
        if missing:
            raise WeightsError(
                f"The weights have no {', no '.join(missing)}: the engine onnx reads a "
                "sentence-transformers folder."
            )
        return [item for item in objects if item.path in (*_NEEDED, *_ALSO_READ)]

    def check(self, settings: Settings) -> None:
        if settings.model_type != "embedding":
            raise ConfigurationError(
                f"The engine onnx serves embeddings, not {settings.model_type}: use llamacpp or vllm."
            )
        checked_arguments(self.name, _ARGUMENTS, settings.engine_args)

    def launch(self, settings: Settings, snapshot: Snapshot) -> Launch:
        from lisa_model.embeddings.architecture import Architecture
        from lisa_model.embeddings.graph_file import FORMAT

        arguments = checked_arguments(self.name, _ARGUMENTS, settings.engine_args)
        architecture = Architecture.read(snapshot.path)
        limit = settings.context_window or architecture.max_tokens
        if limit > architecture.positions:
            raise ConfigurationError(
                f"The context window is {limit}: this model has {architecture.positions} positions at most."
            )
        folder = snapshot.derived / FORMAT
        with (snapshot.derived / f"{FORMAT}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the other container's graph is as good
            if not folder.exists():
                from lisa_model.embeddings.graph import write_graph

                started = time.monotonic()
                write_graph(snapshot.path, architecture, folder)
                print(f"converted the weights to ONNX in {time.monotonic() - started:.1f} s", flush=True)
        command = [sys.executable, "-m", "lisa_model.embeddings.server"]
        command += [f"--weights={snapshot.path}", f"--graph={folder}", f"--alias={settings.model_id}"]
        command += [f"--host={settings.host}", f"--port={settings.port}", f"--max-tokens={limit}"]
        if arguments.pop("truncate", False):
            command.append("--truncate")
        command += [f"--{name}={value}" for name, value in arguments.items()]
        return Launch(tuple(command))
