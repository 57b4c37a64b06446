"""Names that are derived from a model's id, so that no two models ever share one (`my-model` and `mymodel` neither)."""

import base64
import hashlib

SHORT_NAME_LENGTH = 12  # 60 bits of SHA-256, and short enough for every AWS name it goes into


def short_name(model_id: str) -> str:
    """12 lower-case letters and digits that stand for the model in names with a narrow alphabet."""
    digest = hashlib.sha256(model_id.encode()).digest()
    return base64.b32encode(digest).decode().lower()[:SHORT_NAME_LENGTH]


def stack_name(deployment: str, model_id: str) -> str:
    return f"{deployment}-model-{short_name(model_id)}"


def host_header(model_id: str) -> str:
    """The host name by which the shared load balancer finds the model."""
    return f"{short_name(model_id)}.models.internal"


def log_group(deployment: str, model_id: str) -> str:
    return f"/{deployment}/models/{short_name(model_id)}"


def secret_name(deployment: str, model_id: str) -> str:
    return f"{deployment}/models/{short_name(model_id)}"


def execution_name(model_id: str, generation: int, attempt: int) -> str:
    """Deterministic, so that a record delivered twice starts one execution (at most 80 characters)."""
    return f"{short_name(model_id)}-{generation}-{attempt}"
