"""What engines and LiteLLM answer when something is wrong, put into words that a caller can act on."""

import re
from typing import Any

import orjson
from lisa.errors import LisaError

RETRY_SECONDS = 5
MAX_MESSAGE = 1000

# llama.cpp: "exceeds the available context size"; vLLM: "maximum context length is 4096 tokens".
_OVERFLOW = re.compile(
    r"context (?:size|length|window)|exceed_context_size|context_length_exceeded|ContextWindowExceeded"
    r"|maximum (?:model|sequence|input) length|max_model_len|prompt is too long|input is too long",
    re.IGNORECASE,
)
_LIMIT = re.compile(r"(?:maximum|max|limit|available|window|size)\D{0,60}?(\d{2,9})", re.IGNORECASE)
# LiteLLM wraps what a provider said: "litellm.RateLimitError: RateLimitError: OpenAIException - ...".
_WRAPPING = re.compile(r"^(?:litellm\.)?[A-Za-z.]+(?:Error|Exception)\s*[:-]\s*")
_ADDED = re.compile(r"\s*LiteLLM: model group|\s*Received Model Group=")
_CONNECTION = re.compile(
    r"Connection error|APIConnectionError|Cannot connect|Connection refused|ServiceUnavailable", re.IGNORECASE
)


def unavailable(message: str, retry_after: int = RETRY_SECONDS) -> LisaError:
    return LisaError(message, code="model_unavailable", status=503, retry_after=retry_after)


def overflow(limit: int | None, said: str) -> LisaError:
    words = (
        f"This model's context is at most {limit} tokens, and the request needs more."
        if limit
        else (f"The request does not fit into this model's context: {said}")
    )
    return LisaError(words, code="context_length_exceeded", status=400, field="messages")


def translate(
    status: int,
    body: bytes,
    headers: dict[bytes, bytes],
    *,
    model: str,
    hosted: bool,
    context_window: int | None,
    input_field: str,
) -> LisaError:
    """The error to answer when an upstream answered with `status` (400 or more)."""
    detail = _detail(body)
    said = _message(detail, body)
    # LiteLLM passes its provider's headers on with a prefix.
    retry_after = _seconds(headers.get(b"retry-after") or headers.get(b"llm_provider-retry-after"))
    error: LisaError
    if status in {400, 413, 422} and (
        _OVERFLOW.search(said)
        or _OVERFLOW.search(str(detail.get("type", "")))
        or detail.get("code") == "context_length_exceeded"
    ):
        error = overflow(_limit(detail, said) or context_window, said)
        error.field = input_field
    elif status == 429:
        error = LisaError(
            said or "Too many requests to the provider.",
            code="rate_limited",
            status=429,
            retry_after=retry_after or RETRY_SECONDS,
        )
    elif status in {401, 403}:
        # It is the deployment's key that was refused, not the caller's.
        error = LisaError(
            f"The provider refused this deployment's credentials for `{model}`; tell an administrator.",
            code="provider_credentials_refused",
            status=502,
        )
    elif status == 404 and not hosted:
        error = LisaError(
            f"The provider does not know `{model}` or this route; tell an administrator.",
            code="provider_not_found",
            status=502,
        )
    elif status in {502, 503, 504, 404, 408, 529} or (status == 500 and _CONNECTION.search(said)):
        error = unavailable(
            f"`{model}` is not available at the moment; try again.", retry_after or RETRY_SECONDS
        )
    elif status >= 500:
        error = LisaError(said or f"`{model}` failed to answer.", code="model_error", status=500)
    else:
        param = detail.get("param")
        error = LisaError(
            said or "The model refused the request.",
            code="invalid_request",
            status=400 if status == 422 else status,
            field=param if isinstance(param, str) else None,
        )
    return error


def _detail(body: bytes) -> dict[str, Any]:
    """The object that describes the error: `error` in OpenAI's shape, else the document itself."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(document, dict):
        return {}
    inner = document.get("error")
    if isinstance(inner, dict):
        return inner
    if isinstance(inner, str):
        return {"message": inner, "type": document.get("error_type") or document.get("type")}
    return document


def _message(detail: dict[str, Any], body: bytes) -> str:
    text = detail.get("message") or detail.get("detail")
    if isinstance(text, list):  # FastAPI's validation errors
        text = "; ".join(str(item.get("msg", item)) if isinstance(item, dict) else str(item) for item in text)
    if not isinstance(text, str):
        text = "" if detail else body[:200].decode("utf-8", "replace")
        if text.lstrip().startswith("<"):  # a load balancer's page
            text = ""
    while (match := _WRAPPING.match(text)) is not None:
        text = text[match.end() :]
    text = _ADDED.split(text, maxsplit=1)[0].strip()
    return text[:MAX_MESSAGE]


def _limit(detail: dict[str, Any], said: str) -> int | None:
    for name in ("n_ctx", "max_model_len", "limit"):
        if isinstance(detail.get(name), int):
            return int(detail[name])
    found = _LIMIT.search(said)
    return int(found[1]) if found else None


def _seconds(value: bytes | None) -> int | None:
    return int(value) if value is not None and value.isdigit() and len(value) < 6 else None
