"""vLLM: GPU text generation, embeddings, reranking and transcription (image vllm/vllm-openai)."""

from __future__ import annotations

from collections.abc import Sequence

from lisa_model.engines.base import (
    Argument,
    Launch,
    as_options,
    checked_arguments,
    choose_transformers_weights,
    is_file_in_weights,
    is_number,
    is_object,
    is_one_of,
    is_true_or_false,
    is_whole,
    is_word,
)
from lisa_model.settings import Settings
from lisa_model.weights import RemoteObject, Snapshot

_FLAG = Argument("true or false", is_true_or_false)
_COUNT = Argument("a whole number of at least 1", is_whole(1))
_NAME = Argument("a name", is_word)
_JSON = Argument("a JSON object", is_object)
_FILE = Argument("the path of a file among the weights", is_file_in_weights)

_ARGUMENTS = {
    "tensor-parallel-size": _COUNT,
    "pipeline-parallel-size": _COUNT,
    "data-parallel-size": _COUNT,
    "enable-expert-parallel": _FLAG,
    "gpu-memory-utilization": Argument("a number from 0.05 to 1", is_number(0.05, 1)),
    "kv-cache-dtype": _NAME,
    "cpu-offload-gb": Argument("a number of GiB", is_number(0, 10_000)),
    "swap-space": Argument("a number of GiB", is_number(0, 10_000)),
    "block-size": _COUNT,
    "max-num-seqs": _COUNT,
    "max-num-batched-tokens": _COUNT,
    "max-logprobs": _COUNT,
    "max-seq-len-to-capture": _COUNT,
    "enable-prefix-caching": _FLAG,
    "enable-chunked-prefill": _FLAG,
    "enforce-eager": _FLAG,
    "async-scheduling": _FLAG,
    "dtype": Argument(
        "auto, half, float16, bfloat16, float or float32",
        is_one_of("auto", "half", "float16", "bfloat16", "float", "float32"),
    ),
    "quantization": _NAME,
    "load-format": Argument(
        "auto, safetensors, fastsafetensors or runai_streamer",
        is_one_of("auto", "safetensors", "fastsafetensors", "runai_streamer"),
    ),
    "tokenizer-mode": _NAME,
    "config-format": _NAME,
    "runner": Argument("auto, generate or pooling", is_one_of("auto", "generate", "pooling")),
    "convert": _NAME,
    "pooler-config": _JSON,
    "seed": Argument("a whole number", is_whole(0)),
    "chat-template": _FILE,
    "chat-template-content-format": _NAME,
    "default-chat-template-kwargs": _JSON,
    "enable-auto-tool-choice": _FLAG,
    "tool-call-parser": _NAME,
    "reasoning-parser": _NAME,
    "generation-config": _NAME,
    "override-generation-config": _JSON,
    "limit-mm-per-prompt": _JSON,
    "mm-processor-kwargs": _JSON,
    "speculative-config": _JSON,
    "compilation-config": _JSON,
    "hf-overrides": _JSON,
    "rope-scaling": _JSON,
    "enable-log-requests": _FLAG,
    "disable-log-stats": _FLAG,
    # Runs Python that lies among the weights. The weights are the account's own bucket; only an admin
    # can set this.
    "trust-remote-code": _FLAG,
}
_FILES = frozenset({"chat-template"})


class Vllm:
    """`vllm serve`, the command of vLLM's own image."""

    name = "vllm"
    health_path = "/health"
    metrics_path = "/metrics"

    def choose(self, objects: Sequence[RemoteObject]) -> Sequence[RemoteObject]:
        return choose_transformers_weights(self.name, objects)

    def check(self, settings: Settings) -> None:
        checked_arguments(self.name, _ARGUMENTS, settings.engine_args)

    def launch(self, settings: Settings, snapshot: Snapshot) -> Launch:
        command = [
            "vllm",
            "serve",
            str(snapshot.path),
            f"--served-model-name={settings.model_id}",
            f"--host={settings.host}",
            f"--port={settings.port}",
        ]
        if settings.context_window:
            command.append(f"--max-model-len={settings.context_window}")
        arguments = checked_arguments(self.name, _ARGUMENTS, settings.engine_args)
        if settings.model_type == "embedding" and "runner" not in arguments:
            command.append("--runner=pooling")
        command += as_options(arguments, snapshot.path, _FILES)
        # Compiled kernels are worth keeping beside the weights; nothing may be asked of the Hugging Face hub.
        environment = {
            "VLLM_CACHE_ROOT": str(snapshot.derived / "vllm"),
            "VLLM_NO_USAGE_STATS": "1",
            # Longer than the load balancer's 900 s, so that it never meets a connection that was just closed; 5 s else.
            "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "910",
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
        }
        return Launch(tuple(command), environment)
