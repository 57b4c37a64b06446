"""What a model folder says about the model: the encoder's shape, the pooling, the longest text."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lisa_model.errors import WeightsError


@dataclass(frozen=True, slots=True)
class Architecture:
    """A BERT encoder with a pooling layer."""

    hidden_size: int
    layers: int
    heads: int
    positions: int  # the longest text that has position embeddings, in tokens
    max_tokens: int  # the longest text that the model was made for, in tokens
    norm_epsilon: float
    pooling: str  # "mean" or "cls"
    normalize: bool  # to length 1

    @classmethod
    def read(cls, folder: Path) -> Architecture:
        """Raises WeightsError when the model is not one that `graph.py` knows."""
        config = _json(folder / "config.json")
        kind = config.get("model_type")
        if kind != "bert":
            raise WeightsError(
                f"The model's architecture is {kind!r}: the engine onnx knows 'bert'; use tei or vllm."
            )
        for name, known in (("hidden_act", "gelu"), ("position_embedding_type", "absolute")):
            if config.get(name, known) != known:
                raise WeightsError(
                    f"The model's {name} is {config[name]!r}: the engine onnx knows {known!r}."
                )
        try:
            positions = int(config["max_position_embeddings"])
            longest = int(_json(folder / "sentence_bert_config.json").get("max_seq_length") or positions)
            return cls(
                hidden_size=int(config["hidden_size"]),
                layers=int(config["num_hidden_layers"]),
                heads=int(config["num_attention_heads"]),
                positions=positions,
                max_tokens=min(longest, positions),
                norm_epsilon=float(config.get("layer_norm_eps", 1e-12)),
                pooling=_pooling(_json(folder / "1_Pooling/config.json")),
                normalize=_normalizes(folder / "modules.json"),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise WeightsError(f"config.json of the model cannot be used: {error!r}.") from error


def _pooling(config: dict[str, Any]) -> str:
    chosen = [name for name, value in config.items() if name.startswith("pooling_mode_") and value is True]
    modes = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
    if not chosen:  # sentence-transformers' default for a plain encoder
        return "mean"
    if len(chosen) > 1 or chosen[0] not in modes:
        raise WeightsError(f"The model pools by {', '.join(chosen)}: the engine onnx knows mean and cls.")
    return modes[chosen[0]]


def _normalizes(path: Path) -> bool:
    if not path.exists():
        return False
    modules = json.loads(path.read_text())
    known = {"Transformer", "Pooling", "Normalize"}
    kinds = [str(module.get("type", "")).rsplit(".", 1)[-1] for module in modules]
    unknown = [kind for kind in kinds if kind not in known]
    if unknown:
        raise WeightsError(
            f"The model has a module {unknown[0]!r}: the engine onnx knows {', '.join(sorted(known))}."
        )
    return "Normalize" in kinds


def _json(path: Path) -> dict[str, Any]:
    """The object in the file, an empty one when there is no file."""
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise WeightsError(f"{path.name} of the model is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise WeightsError(f"{path.name} of the model is not a JSON object.")
    return value
