"""The inference routes: which models they take, and what their main fields must look like."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from lisa_gateway.answers import Dialect


@dataclass(frozen=True, slots=True)
class Kind:
    """What a field may hold: a test, the words for it, and the same as a JSON schema for the documentation.

    null is always allowed, as an absent field.
    """

    words: str
    fits: Callable[[Any], bool]
    schema: Mapping[str, Any]


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _positive(value: Any) -> bool:
    return _integer(value) and value >= 1


def _strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _token_ids(value: Any) -> bool:
    return isinstance(value, list) and all(_integer(item) for item in value)


def _text_input(value: Any) -> bool:
    """A text, texts, token ids, or lists of token ids: what embeddings and completions take."""
    if isinstance(value, str):
        return True
    if not isinstance(value, list) or not value:
        return False
    return _strings(value) or _token_ids(value) or all(_token_ids(item) and item for item in value)


_STRING = {"type": "string"}
_STRINGS = {"type": "array", "items": _STRING}
_OBJECT = {"type": "object"}
_ARRAY = {"type": "array"}
_INTEGERS = {"type": "array", "items": {"type": "integer"}}
_TEXT_INPUT = {
    "anyOf": [
        _STRING,
        _STRINGS | {"minItems": 1},
        _INTEGERS | {"minItems": 1},
        {"type": "array", "minItems": 1, "items": _INTEGERS | {"minItems": 1}},
    ]
}

STRING = Kind("a string", lambda value: isinstance(value, str), _STRING)
NUMBER = Kind("a number", _number, {"type": "number"})
INTEGER = Kind("an integer", _integer, {"type": "integer"})
POSITIVE = Kind("an integer of 1 or more", _positive, {"type": "integer", "minimum": 1})
BOOLEAN = Kind("true or false", lambda value: isinstance(value, bool), {"type": "boolean"})
OBJECT = Kind("an object", lambda value: isinstance(value, dict), _OBJECT)
ARRAY = Kind("an array", lambda value: isinstance(value, list), _ARRAY)
OBJECTS = Kind(
    "an array of objects",
    lambda value: isinstance(value, list) and all(isinstance(item, dict) for item in value),
    _ARRAY | {"items": _OBJECT},
)
TEXT_INPUT = Kind("a string or an array that is not empty", _text_input, _TEXT_INPUT)
STOP = Kind(
    "a string or an array of strings",
    lambda value: isinstance(value, str) or _strings(value),
    {"anyOf": [_STRING, _STRINGS]},
)
STRING_OR_OBJECT = Kind(
    "a string or an object",
    lambda value: isinstance(value, str | dict),
    {"anyOf": [_STRING, _OBJECT]},
)
STRING_OR_ARRAY = Kind(
    "a string or an array",
    lambda value: isinstance(value, str | list),
    {"anyOf": [_STRING, _ARRAY]},
)
ANY = Kind("anything", lambda value: True, {})

_SAMPLING: Mapping[str, Kind] = {
    "model": STRING,
    "temperature": NUMBER,
    "top_p": NUMBER,
    "n": POSITIVE,
    "max_tokens": INTEGER,
    "stop": STOP,
    "stream": BOOLEAN,
    "stream_options": OBJECT,
    "presence_penalty": NUMBER,
    "frequency_penalty": NUMBER,
    "logit_bias": OBJECT,
    "seed": INTEGER,
    "user": STRING,
    "top_k": NUMBER,
    "min_p": NUMBER,
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One inference route, whatever address it was called by."""

    name: str
    modes: frozenset[str]
    fields: Mapping[str, Kind]
    required: tuple[str, ...]
    dialect: Dialect = Dialect.OPENAI
    # Whether the engine tells the usage of a stream only when `stream_options` asks for it.
    asks_usage: bool = False
    multipart: bool = False
    says: str = field(default="")

    @property
    def path(self) -> str:
        return "/v1/" + self.name


def _endpoint(
    name: str, modes: set[str], required: tuple[str, ...], *fields: Mapping[str, Kind], **options: Any
) -> Endpoint:
    merged: dict[str, Kind] = {"model": STRING}
    for group in fields:
        merged.update(group)
    return Endpoint(name, frozenset(modes), MappingProxyType(merged), required, **options)


ENDPOINTS: Mapping[str, Endpoint] = MappingProxyType(
    {
        endpoint.name: endpoint
        for endpoint in (
            _endpoint(
                "chat/completions",
                {"chat"},
                ("messages",),
                _SAMPLING,
                {
                    "messages": OBJECTS,
                    "max_completion_tokens": INTEGER,
                    "logprobs": BOOLEAN,
                    "top_logprobs": INTEGER,
                    "tools": OBJECTS,
                    "tool_choice": STRING_OR_OBJECT,
                    "parallel_tool_calls": BOOLEAN,
                    "response_format": OBJECT,
                    "metadata": OBJECT,
                    "reasoning_effort": STRING,
                },
                asks_usage=True,
                says="chat",
            ),
            _endpoint(
                "completions",
                {"chat", "completion"},
                ("prompt",),
                _SAMPLING,
                {
                    "prompt": TEXT_INPUT,
                    "suffix": STRING,
                    "echo": BOOLEAN,
                    "best_of": POSITIVE,
                    "logprobs": ANY,
                },
                asks_usage=True,
                says="text generation",
            ),
            _endpoint(
                "embeddings",
                {"embedding"},
                ("input",),
                {"input": TEXT_INPUT, "encoding_format": STRING, "dimensions": POSITIVE, "user": STRING},
                says="embeddings",
            ),
            _endpoint(
                "responses",
                {"chat"},
                ("input",),
                {
                    "input": STRING_OR_ARRAY,
                    "instructions": STRING_OR_ARRAY,
                    "stream": BOOLEAN,
                    "temperature": NUMBER,
                    "top_p": NUMBER,
                    "max_output_tokens": INTEGER,
                    "tools": OBJECTS,
                    "tool_choice": STRING_OR_OBJECT,
                    "text": OBJECT,
                    "reasoning": OBJECT,
                    "metadata": OBJECT,
                    "store": BOOLEAN,
                    "previous_response_id": STRING,
                    "include": ARRAY,
                    "user": STRING,
                    "parallel_tool_calls": BOOLEAN,
                },
                says="chat",
            ),
            _endpoint(
                "messages",
                {"chat"},
                ("messages", "max_tokens"),
                {
                    "messages": OBJECTS,
                    "max_tokens": POSITIVE,
                    "system": STRING_OR_ARRAY,
                    "stream": BOOLEAN,
                    "temperature": NUMBER,
                    "top_p": NUMBER,
                    "top_k": INTEGER,
                    "stop_sequences": ARRAY,
                    "tools": OBJECTS,
                    "tool_choice": OBJECT,
                    "metadata": OBJECT,
                    "thinking": OBJECT,
                },
                dialect=Dialect.ANTHROPIC,
                says="chat",
            ),
            _endpoint(
                "messages/count_tokens",
                {"chat"},
                ("messages",),
                {
                    "messages": OBJECTS,
                    "system": STRING_OR_ARRAY,
                    "tools": OBJECTS,
                    "tool_choice": OBJECT,
                    "thinking": OBJECT,
                },
                dialect=Dialect.ANTHROPIC,
                says="chat",
            ),
            _endpoint(
                "images/generations",
                {"image_generation"},
                ("prompt",),
                {
                    "prompt": STRING,
                    "n": POSITIVE,
                    "size": STRING,
                    "quality": STRING,
                    "style": STRING,
                    "response_format": STRING,
                    "user": STRING,
                },
                says="image generation",
            ),
            _endpoint(
                "images/edits",
                {"image_generation"},
                ("prompt",),
                {"prompt": STRING},
                multipart=True,
                says="image generation",
            ),
            _endpoint(
                "audio/speech",
                {"audio_speech"},
                ("input", "voice"),
                {
                    "input": STRING,
                    "voice": STRING_OR_OBJECT,
                    "response_format": STRING,
                    "speed": NUMBER,
                    "instructions": STRING,
                },
                says="speech",
            ),
            _endpoint(
                "audio/transcriptions", {"audio_transcription"}, (), multipart=True, says="transcription"
            ),
            _endpoint(
                "audio/translations", {"audio_transcription"}, (), multipart=True, says="transcription"
            ),
            _endpoint(
                "rerank",
                {"rerank"},
                ("query", "documents"),
                {"query": STRING, "documents": ARRAY, "top_n": POSITIVE, "return_documents": BOOLEAN},
                says="reranking",
            ),
        )
    }
)
