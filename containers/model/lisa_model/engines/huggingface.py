"""Hugging Face's servers: Text Generation Inference (`tgi`) and Text Embeddings Inference (`tei`)."""

from __future__ import annotations

from collections.abc import Sequence

from lisa_model.engines.base import (
    Argument,
    Launch,
    as_options,
    checked_arguments,
    choose_transformers_weights,
    is_number,
    is_one_of,
    is_true_or_false,
    is_whole,
    is_word,
)
from lisa_model.errors import ConfigurationError
from lisa_model.settings import ArgValue, Settings
from lisa_model.weights import RemoteObject, Snapshot

_FLAG = Argument("true or false", is_true_or_false)
_COUNT = Argument("a whole number of at least 1", is_whole(1))
_NAME = Argument("a name", is_word)
_OFFLINE = {"HF_HUB_OFFLINE": "1"}

_TGI_ARGUMENTS = {
    "num-shard": _COUNT,
    "sharded": _FLAG,
    "quantize": _NAME,
    "kv-cache-dtype": _NAME,
    "speculate": _COUNT,
    "dtype": Argument("float16 or bfloat16", is_one_of("float16", "bfloat16")),
    "max-concurrent-requests": _COUNT,
    "max-input-tokens": _COUNT,
    "max-batch-size": _COUNT,
    "max-batch-prefill-tokens": _COUNT,
    "max-batch-total-tokens": _COUNT,
    "max-waiting-tokens": _COUNT,
    "waiting-served-ratio": Argument("a number", is_number(0, 100)),
    "cuda-memory-fraction": Argument("a number from 0.05 to 1", is_number(0.05, 1)),
    "rope-scaling": _NAME,
    "rope-factor": Argument("a number", is_number(0, 1000)),
    "max-top-n-tokens": _COUNT,
    "trust-remote-code": _FLAG,
}
_TEI_ARGUMENTS = {
    "dtype": Argument("float16 or float32", is_one_of("float16", "float32")),
    "pooling": Argument("cls, mean, splade or last-token", is_one_of("cls", "mean", "splade", "last-token")),
    "max-concurrent-requests": _COUNT,
    "max-batch-tokens": _COUNT,
    "max-batch-requests": _COUNT,
    "max-client-batch-size": _COUNT,
    "tokenization-workers": _COUNT,
    "auto-truncate": _FLAG,
    "default-prompt-name": _NAME,
}


class Tgi:
    """`text-generation-launcher`. Its answers name the model by its folder; the gateway rights that."""

    name = "tgi"
    health_path = "/health"
    metrics_path = "/metrics"

    def choose(self, objects: Sequence[RemoteObject]) -> Sequence[RemoteObject]:
        return choose_transformers_weights(self.name, objects)

    def check(self, settings: Settings) -> None:
        if settings.model_type != "textgen":
            raise ConfigurationError(
                f"The engine tgi serves text generation, not {settings.model_type}: use vllm or tei."
            )
        checked_arguments(self.name, _TGI_ARGUMENTS, settings.engine_args)

    def launch(self, settings: Settings, snapshot: Snapshot) -> Launch:
        command = [
            "text-generation-launcher",
            f"--model-id={snapshot.path}",
            f"--hostname={settings.host}",
            f"--port={settings.port}",
        ]
        if settings.context_window:
            command.append(f"--max-total-tokens={settings.context_window}")
        command += _options(checked_arguments(self.name, _TGI_ARGUMENTS, settings.engine_args), snapshot)
        return Launch(tuple(command), {**_OFFLINE, "USAGE_STATS": "off"})


class Tei:
    """`text-embeddings-router`."""

    name = "tei"
    health_path = "/health"
    metrics_path = "/metrics"

    def choose(self, objects: Sequence[RemoteObject]) -> Sequence[RemoteObject]:
        # Its CPU build reads ONNX files where there are any, so nothing is left out.
        choose_transformers_weights(self.name, objects)
        return objects

    def check(self, settings: Settings) -> None:
        if settings.model_type != "embedding":
            raise ConfigurationError(
                f"The engine tei serves embeddings, not {settings.model_type}: use vllm or tgi."
            )
        checked_arguments(self.name, _TEI_ARGUMENTS, settings.engine_args)

    def launch(self, settings: Settings, snapshot: Snapshot) -> Launch:
        command = [
            "text-embeddings-router",
            f"--model-id={snapshot.path}",
            f"--served-model-name={settings.model_id}",
            f"--hostname={settings.host}",
            f"--port={settings.port}",
        ]
        command += _options(checked_arguments(self.name, _TEI_ARGUMENTS, settings.engine_args), snapshot)
        return Launch(tuple(command), _OFFLINE)


def _options(arguments: dict[str, ArgValue], snapshot: Snapshot) -> list[str]:
    # Their flags have no "--no-" form: one that is false is left out.
    return as_options({name: value for name, value in arguments.items() if value is not False}, snapshot.path)
