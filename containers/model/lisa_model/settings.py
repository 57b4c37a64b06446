"""Settings of the container, read once from the environment and checked before anything is fetched."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lisa_model.errors import ConfigurationError

ENGINES = ("vllm", "tgi", "tei", "llamacpp", "onnx")
ArgValue = str | int | float | bool | list[object] | dict[str, object]

_DEFAULT_HOST = "0.0.0.0"  # noqa: S104 -- the security group of the container decides who reaches it

# What a model's definition may not set: our names, the credentials, and what changes which code is run.
_RESERVED_NAMES = re.compile(r"^(LISA_.*|AWS_.*|HOST|PORT|PATH|LD_.*|PYTHON.*)$")
_ENVIRONMENT_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
_WEIGHTS_URI = re.compile(r"^s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(?P<prefix>.*)$")


@dataclass(frozen=True, slots=True)
class Settings:
    """What to serve, how, and where its weights are."""

    model_id: str
    engine: str
    model_type: str
    bucket: str
    prefix: str  # ends with "/"
    host: str
    port: int
    weights_dir: Path
    context_window: int | None = None
    engine_args: Mapping[str, ArgValue] = field(default_factory=dict)
    container_environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def weights_uri(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Settings:
        """Raises ConfigurationError, naming the variable and what it should be."""
        engine = _required(environ, "LISA_ENGINE", "one of " + ", ".join(ENGINES))
        if engine not in ENGINES:
            raise ConfigurationError(f"LISA_ENGINE is {engine!r}: use one of {', '.join(ENGINES)}.")
        uri = _required(environ, "LISA_WEIGHTS_URI", "s3://bucket/model-name/")
        match = _WEIGHTS_URI.match(uri)
        prefix = match["prefix"].strip("/") if match else ""
        if match is None or not prefix:
            raise ConfigurationError(f"LISA_WEIGHTS_URI is {uri!r}: write it as s3://bucket/model-name/.")
        if any(part in ("", ".", "..") for part in prefix.split("/")):
            raise ConfigurationError(f"LISA_WEIGHTS_URI is {uri!r}: its path may not hold '.', '..' or '//'.")
        context = environ.get("LISA_CONTEXT_WINDOW") or None
        return cls(
            model_id=_required(environ, "LISA_MODEL_ID", "the name that the model is served under"),
            engine=engine,
            model_type=environ.get("LISA_MODEL_TYPE") or "textgen",
            bucket=match["bucket"],
            prefix=prefix + "/",
            host=environ.get("HOST") or _DEFAULT_HOST,
            port=_integer("PORT", environ.get("PORT") or "8080", 1, 65535),
            context_window=_integer("LISA_CONTEXT_WINDOW", context, 1, 100_000_000) if context else None,
            engine_args=_json_object(environ, "LISA_ENGINE_ARGS"),
            weights_dir=Path(environ.get("LISA_WEIGHTS_DIR") or "/var/lib/lisa/weights"),
            container_environment=_container_environment(environ),
        )


def _required(environ: Mapping[str, str], name: str, example: str) -> str:
    value = environ.get(name, "")
    if not value:
        raise ConfigurationError(f"{name} is not set: set it to {example}.")
    return value


def _integer(name: str, text: str, low: int, high: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = low - 1
    if not low <= value <= high:
        raise ConfigurationError(f"{name} is {text!r}: use a whole number from {low} to {high}.")
    return value


def _json_object(environ: Mapping[str, str], name: str) -> dict[str, ArgValue]:
    text = environ.get(name) or "{}"
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"{name} is not valid JSON ({error}): use a JSON object.") from None
    if not isinstance(value, dict):
        raise ConfigurationError(f"{name} is a JSON {type(value).__name__}: use a JSON object.")
    return value


def _container_environment(environ: Mapping[str, str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, value in _json_object(environ, "LISA_CONTAINER_ENVIRONMENT").items():
        if not _ENVIRONMENT_NAME.match(name) or _RESERVED_NAMES.match(name):
            raise ConfigurationError(
                f"containerConfig.environment may not set {name!r}: use letters, digits and '_', and none of "
                "LISA_*, AWS_*, HOST, PORT, PATH, LD_*, PYTHON*."
            )
        if not isinstance(value, str) or "\0" in value:
            raise ConfigurationError(f"containerConfig.environment.{name} must be a string.")
        values[name] = value
    return values
