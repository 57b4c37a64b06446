"""Writes a BERT sentence encoder as an ONNX graph, straight from its safetensors file.

Inputs `input_ids` and `attention_mask` (int64, [batch, length]), output `sentence_embedding` (float32,
[batch, hidden]). The layers are those of "BERT: Pre-training of Deep Bidirectional Transformers" (Devlin et
al., 2018): embeddings, then blocks of self-attention and a feed-forward layer, each followed by a residual
connection and a layer normalization.
"""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors import SafetensorError, safe_open

from lisa_model.embeddings.architecture import Architecture
from lisa_model.embeddings.graph_file import GRAPH_FILE
from lisa_model.errors import WeightsError

_DATA_FILE = "model.data"
_MASKED = -1e9
_OPSET, _IR = 20, 10


def write_graph(weights: Path, architecture: Architecture, folder: Path) -> None:
    """Writes the graph and its data to `folder`, which appears when both are complete."""
    building = folder.with_name(folder.name + ".new")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    try:
        with safe_open(weights / "model.safetensors", framework="np") as tensors:
            model = _Builder(tensors, architecture).build()
    except SafetensorError as error:
        raise WeightsError(
            f"model.safetensors cannot be read or lacks a part of a BERT encoder: {error}."
        ) from error
    # Data beside the graph is mapped into memory, not read: word embeddings are only touched where they
    # are used.
    onnx.save_model(
        model, building / GRAPH_FILE, save_as_external_data=True, location=_DATA_FILE, size_threshold=1024
    )
    building.rename(folder)


class _Builder:
    def __init__(self, tensors: Any, architecture: Architecture) -> None:
        self._tensors = tensors
        self._shape = architecture
        self._prefix = "bert." if any(name.startswith("bert.") for name in list(tensors.keys())) else ""
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def build(self) -> onnx.ModelProto:
        mask = self._op("Cast", ["attention_mask"], to=TensorProto.FLOAT)
        hidden = self._embed()
        bias = self._attention_bias(mask)
        for layer in range(self._shape.layers):
            hidden = self._block(hidden, bias, f"encoder.layer.{layer}.")
        pooled = self._pool(hidden, mask)
        if self._shape.normalize:
            pooled = self._op("LpNormalization", [pooled], axis=1, p=2)
        self._nodes.append(helper.make_node("Identity", [pooled], ["sentence_embedding"]))
        graph = helper.make_graph(
            self._nodes,
            "sentence-encoder",
            [
                helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
                for name in ("input_ids", "attention_mask")
            ],
            [
                helper.make_tensor_value_info(
                    "sentence_embedding", TensorProto.FLOAT, ["batch", self._shape.hidden_size]
                )
            ],
            list(self._constants.values()),
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
        onnx.checker.check_model(model)
        return model

    def _embed(self) -> str:
        """Word + position + token type 0 (there is only one sentence), normalized."""
        length = self._op(
            "Slice", [self._op("Shape", ["input_ids"]), self._ints("one", 1), self._ints("two", 2)]
        )
        words = self._op("Gather", [self._weight("embeddings.word_embeddings.weight"), "input_ids"])
        table = self._weight("embeddings.position_embeddings.weight")
        positions = self._op("Slice", [table, self._ints("zero", 0), length])
        token_type = self._constant("token_type", self._read("embeddings.token_type_embeddings.weight")[0])
        total = self._op("Add", [self._op("Add", [words, positions]), token_type])
        return self._normalize(total, "embeddings.LayerNorm")

    def _attention_bias(self, mask: str) -> str:
        """0 for a token, a large negative number for padding; [batch, 1, 1, length]."""
        padding = self._op("Sub", [self._floats("one_f", 1.0), mask])
        scaled = self._op("Mul", [padding, self._floats("masked", _MASKED)])
        return self._op("Unsqueeze", [scaled, self._ints("middle", 1, 2)])

    def _block(self, hidden: str, bias: str, name: str) -> str:
        query, key, value = (
            self._heads(self._linear(hidden, f"{name}attention.self.{part}"), permutation)
            for part, permutation in (("query", [0, 2, 1, 3]), ("key", [0, 2, 3, 1]), ("value", [0, 2, 1, 3]))
        )
        head_size = self._shape.hidden_size // self._shape.heads
        scores = self._op("MatMul", [query, key])
        scores = self._op("Mul", [scores, self._floats("scale", 1 / math.sqrt(head_size))])
        weights = self._op("Softmax", [self._op("Add", [scores, bias])], axis=-1)
        context = self._op("Transpose", [self._op("MatMul", [weights, value])], perm=[0, 2, 1, 3])
        context = self._op("Reshape", [context, self._ints("merged", 0, 0, self._shape.hidden_size)])
        attended = self._linear(context, f"{name}attention.output.dense")
        hidden = self._normalize(self._op("Add", [attended, hidden]), f"{name}attention.output.LayerNorm")
        wide = self._op("Gelu", [self._linear(hidden, f"{name}intermediate.dense")], approximate="none")
        narrow = self._linear(wide, f"{name}output.dense")
        return self._normalize(self._op("Add", [narrow, hidden]), f"{name}output.LayerNorm")

    def _pool(self, hidden: str, mask: str) -> str:
        if self._shape.pooling == "cls":
            return self._op("Gather", [hidden, self._constant("first", np.array(0, np.int64))], axis=1)
        column = self._op("Unsqueeze", [mask, self._ints("last", 2)])
        axis = self._ints("one", 1)
        total = self._op("ReduceSum", [self._op("Mul", [hidden, column]), axis], keepdims=0)
        return self._op("Div", [total, self._op("ReduceSum", [column, axis], keepdims=0)])

    def _heads(self, value: str, permutation: list[int]) -> str:
        head_size = self._shape.hidden_size // self._shape.heads
        split = self._op("Reshape", [value, self._ints("split", 0, 0, self._shape.heads, head_size)])
        return self._op("Transpose", [split], perm=permutation)

    def _linear(self, value: str, name: str) -> str:
        weight = self._constant(f"{name}.weight", self._read(f"{name}.weight").T)
        return self._op("Add", [self._op("MatMul", [value, weight]), self._weight(f"{name}.bias")])

    def _normalize(self, value: str, name: str) -> str:
        inputs = [value, self._weight(f"{name}.weight"), self._weight(f"{name}.bias")]
        return self._op("LayerNormalization", inputs, axis=-1, epsilon=self._shape.norm_epsilon)

    def _op(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        name = f"{kind}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def _read(self, name: str) -> np.ndarray:
        return self._tensors.get_tensor(self._prefix + name).astype(np.float32)

    def _weight(self, name: str) -> str:
        return self._constant(name, self._read(name))

    def _ints(self, name: str, *values: int) -> str:
        return self._constant(name, np.array(values, np.int64))

    def _floats(self, name: str, value: float) -> str:
        return self._constant(name, np.float32(value))

    def _constant(self, name: str, value: Any) -> str:
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name
