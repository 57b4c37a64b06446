"""Which OpenAI and Anthropic routes each engine speaks itself. Other routes need translation."""

from typing import Literal, get_args

Engine = Literal["vllm", "tgi", "tei", "llamacpp", "onnx"]
ENGINES: frozenset[str] = frozenset(get_args(Engine))
CPU_ENGINES: frozenset[str] = frozenset({"llamacpp", "onnx"})

_CHAT = frozenset({"chat/completions", "completions", "responses", "messages", "messages/count_tokens"})

ENGINE_ROUTES: dict[str, frozenset[str]] = {
    "vllm": _CHAT | {"embeddings", "rerank", "audio/transcriptions"},
    "llamacpp": _CHAT,
    "onnx": frozenset({"embeddings"}),
    "tgi": frozenset({"chat/completions", "completions"}),
    "tei": frozenset({"embeddings", "rerank"}),
}


def speaks(engine: str, route: str) -> bool:
    """Whether the engine answers `route` (without the `/v1/` prefix) itself."""
    return route in ENGINE_ROUTES.get(engine, frozenset())
