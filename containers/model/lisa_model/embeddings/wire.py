"""The embeddings route as OpenAI's clients speak it: the request, the answer, the errors."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

MAX_INPUTS = 2048  # OpenAI's own limit
_INT_BATCH = "a string, a list of strings, a list of token ids, or a list of lists of token ids"


class RequestError(Exception):
    """An answer with OpenAI's error object."""

    def __init__(
        self, message: str, *, status: int = 400, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code

    def body(self) -> bytes:
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        error = {"message": str(self), "type": kind, "param": self.param, "code": self.code}
        return orjson.dumps({"error": error})


@dataclass(frozen=True, slots=True)
class EmbeddingsRequest:
    """`inputs` holds texts or lists of token ids, in the caller's order."""

    inputs: list[str] | list[list[int]]
    encoding_format: str  # "float" or "base64"
    truncate_to: int | None  # tokens; -1: the model's limit; None: as the server is set

    @classmethod
    def parse(cls, body: bytes, *, model: str, dimensions: int) -> EmbeddingsRequest:
        """Raises RequestError naming the field."""
        try:
            fields = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise RequestError(f"The body is not valid JSON: {error}.", code="invalid_json") from None
        if not isinstance(fields, dict):
            raise RequestError("The body must be a JSON object.", code="invalid_type")
        wanted = fields.get("model")
        if wanted is not None and wanted != model:
            raise RequestError(
                f"The model {wanted!r} is not served here.", status=404, param="model", code="model_not_found"
            )
        encoding = fields.get("encoding_format") or "float"
        if encoding not in ("float", "base64"):
            raise RequestError(
                "encoding_format must be 'float' or 'base64'.", param="encoding_format", code="invalid_value"
            )
        size = fields.get("dimensions")
        if size is not None and size != dimensions:
            raise RequestError(
                f"dimensions must be {dimensions}: this model's vectors cannot be shortened.",
                param="dimensions",
                code="invalid_value",
            )
        return cls(_inputs(fields.get("input")), encoding, _truncation(fields))


def answer(model: str, vectors: np.ndarray, tokens: int, encoding_format: str) -> bytes:
    """The list object. base64 is of little-endian float32, as OpenAI's client reads it."""
    if encoding_format == "base64":
        rows: list[Any] = [base64.b64encode(row.astype("<f4").tobytes()).decode() for row in vectors]
    else:
        rows = list(vectors)
    data = [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return orjson.dumps(
        {"object": "list", "data": data, "model": model, "usage": usage}, option=orjson.OPT_SERIALIZE_NUMPY
    )


def too_long(tokens: int, limit: int, index: int) -> RequestError:
    return RequestError(
        f"This model's maximum context length is {limit} tokens, but input {index} has {tokens}: "
        'shorten it, or send "truncate_prompt_tokens": -1 to have it cut.',
        param="input",
        code="context_length_exceeded",
    )


def _inputs(value: Any) -> list[str] | list[list[int]]:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        raise RequestError(f"input must be {_INT_BATCH}.", param="input", code="invalid_type")
    if value and all(_is_token(item) for item in value):
        value = [value]
    if not 0 < len(value) <= MAX_INPUTS:
        raise RequestError(
            f"input must hold 1 to {MAX_INPUTS} texts, it holds {len(value)}.",
            param="input",
            code="invalid_value",
        )
    texts = all(isinstance(item, str) for item in value)
    lists = all(isinstance(item, list) and all(_is_token(token) for token in item) for item in value)
    if not texts and not lists:
        raise RequestError(f"input must be {_INT_BATCH}.", param="input", code="invalid_type")
    for index, item in enumerate(value):
        if not item:
            raise RequestError(f"input {index} is empty.", param="input", code="invalid_value")
    return value


def _is_token(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _truncation(fields: dict[str, Any]) -> int | None:
    """vLLM's field `truncate_prompt_tokens`, or TEI's `truncate`."""
    limit = fields.get("truncate_prompt_tokens")
    if limit is not None:
        if not _is_token(limit) or not (limit == -1 or limit >= 3):
            raise RequestError(
                "truncate_prompt_tokens must be -1 (the model's limit) or at least 3.",
                param="truncate_prompt_tokens",
                code="invalid_value",
            )
        return int(limit)
    if fields.get("truncate") not in (None, True, False):
        raise RequestError("truncate must be true or false.", param="truncate", code="invalid_type")
    return -1 if fields.get("truncate") else None
