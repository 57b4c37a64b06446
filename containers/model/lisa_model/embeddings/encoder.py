"""Texts or token ids to vectors: tokenizer, ONNX Runtime session, batches of similar length."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from lisa_model.embeddings.graph_file import GRAPH_FILE

# Padding costs as much as text: a batch is bounded by tokens with padding, and by texts for many short ones.
MAX_BATCH_TOKENS = 2048
_MAX_BATCH_TEXTS = 64


class Encoder:
    """Not for two threads at once: ONNX Runtime spreads each batch over `threads` itself."""

    def __init__(
        self, *, weights: Path, graph: Path, threads: int, max_batch_tokens: int = MAX_BATCH_TOKENS
    ) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Idle threads sleep, and what a batch needed goes back after it: waiting should cost next to nothing.
        options.enable_mem_pattern = False
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._after_each_run = onnxruntime.RunOptions()
        self._after_each_run.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self._session = onnxruntime.InferenceSession(
            str(graph / GRAPH_FILE), options, providers=["CPUExecutionProvider"]
        )
        self._tokenizer = Tokenizer.from_file(str(weights / "tokenizer.json"))
        # The file's own settings cut and pad every text to one length.
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._max_batch_tokens = max_batch_tokens
        self.dimensions = int(self._session.get_outputs()[0].shape[1])
        self.vocabulary = self._tokenizer.get_vocab_size()
        empty = self._tokenizer.encode("").ids
        self._first, self._last = empty[0], empty[-1]

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids with the markers at both ends."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]

    def with_markers(self, ids: Sequence[int]) -> list[int]:
        """A caller's token ids as the model reads them. Raises ValueError for an id that it does not have."""
        for token in ids:
            if not 0 <= token < self.vocabulary:
                raise ValueError(
                    f"token id {token} is not in this model's vocabulary of {self.vocabulary}: send text, "
                    "or ids of the model's own tokenizer (with LangChain: check_embedding_ctx_length=False)"
                )
        if len(ids) >= 2 and ids[0] == self._first and ids[-1] == self._last:
            return list(ids)
        return [self._first, *ids, self._last]

    def truncated(self, ids: list[int], limit: int) -> list[int]:
        """At most `limit` tokens, still with the marker at the end."""
        return ids if len(ids) <= limit else [*ids[: limit - 1], self._last]

    def batches(self, sequences: Sequence[list[int]]) -> list[list[int]]:
        """Positions in `sequences`, in groups that need little padding and stay within the bounds."""
        order = sorted(range(len(sequences)), key=lambda position: len(sequences[position]))
        groups: list[list[int]] = []
        for position in order:
            group = groups[-1] if groups else None
            longest = len(sequences[position])
            if (
                group
                and len(group) < _MAX_BATCH_TEXTS
                and (len(group) + 1) * longest <= self._max_batch_tokens
            ):
                group.append(position)
            else:
                groups.append([position])
        return groups

    def encode(self, sequences: Sequence[list[int]]) -> np.ndarray:
        """One vector for each sequence; float32, [len(sequences), dimensions]."""
        length = max(len(ids) for ids in sequences)
        ids = np.zeros((len(sequences), length), np.int64)
        mask = np.zeros_like(ids)
        for row, sequence in enumerate(sequences):
            ids[row, : len(sequence)] = sequence
            mask[row, : len(sequence)] = 1
        inputs = {"input_ids": ids, "attention_mask": mask}
        return self._session.run(None, inputs, self._after_each_run)[0]
