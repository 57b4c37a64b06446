"""BERT's forward pass in numpy, for one text at a time: what the ONNX graph must agree with.

Run by the model environment's Python: the weights' folder as argument, a JSON list of texts on stdin.
"""

import json
import math
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer


def main() -> None:
    folder = sys.argv[1]
    config = json.loads(Path(f"{folder}/config.json").read_text())
    weights = load_file(f"{folder}/model.safetensors")
    tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    vectors = [embed(weights, config, tokenizer.encode(text).ids) for text in json.load(sys.stdin)]
    print(json.dumps([[float(number) for number in vector] for vector in vectors]))


def embed(w: dict[str, np.ndarray], config: dict, ids: list[int]) -> np.ndarray:
    x = w["embeddings.word_embeddings.weight"][ids].astype(np.float64)
    x += w["embeddings.position_embeddings.weight"][: len(ids)]
    x += w["embeddings.token_type_embeddings.weight"][0]
    x = normalized(w, "embeddings.LayerNorm", x)
    for number in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{number}"
        attended = attention(w, f"{layer}.attention.self", x, config["num_attention_heads"])
        x = normalized(
            w,
            f"{layer}.attention.output.LayerNorm",
            x + dense(w, f"{layer}.attention.output.dense", attended),
        )
        wide = gelu(dense(w, f"{layer}.intermediate.dense", x))
        x = normalized(w, f"{layer}.output.LayerNorm", x + dense(w, f"{layer}.output.dense", wide))
    pooled = x.mean(axis=0)
    return pooled / np.linalg.norm(pooled)


def attention(w: dict[str, np.ndarray], name: str, x: np.ndarray, heads: int) -> np.ndarray:
    query, key, value = (
        dense(w, f"{name}.{part}", x).reshape(len(x), heads, -1) for part in ("query", "key", "value")
    )
    scores = np.einsum("qhd,khd->hqk", query, key) / math.sqrt(query.shape[-1])
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return np.einsum("hqk,khd->qhd", weights, value).reshape(x.shape)


def dense(w: dict[str, np.ndarray], name: str, x: np.ndarray) -> np.ndarray:
    return x @ w[f"{name}.weight"].T.astype(np.float64) + w[f"{name}.bias"]


def normalized(w: dict[str, np.ndarray], name: str, x: np.ndarray) -> np.ndarray:
    centred = x - x.mean(axis=-1, keepdims=True)
    return (
        centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12) * w[f"{name}.weight"]
        + w[f"{name}.bias"]
    )


def gelu(x: np.ndarray) -> np.ndarray:
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


if __name__ == "__main__":
    main()
