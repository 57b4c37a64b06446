"""The engines by name. `Engine` in `base.py` is what they have in common."""

from lisa_model.engines.base import Engine, Launch
from lisa_model.engines.huggingface import Tei, Tgi
from lisa_model.engines.llamacpp import LlamaCpp
from lisa_model.engines.onnx import Onnx
from lisa_model.engines.vllm import Vllm

__all__ = ["ENGINES", "Engine", "Launch"]

ENGINES: dict[str, Engine] = {engine.name: engine for engine in (Vllm(), Tgi(), Tei(), LlamaCpp(), Onnx())}
