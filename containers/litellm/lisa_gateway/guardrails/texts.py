"""The texts of a request or an answer: where they stand, what cannot be read, and how to put masks into them."""

from dataclasses import dataclass, field
from typing import Any

from lisa.guardrails.pii import Span

# What holds pictures, sounds, files, or something said earlier that is not in the request.
_UNREADABLE_TYPES = frozenset({
    "image", "image_url", "input_image", "input_audio", "audio", "video", "video_url", "input_video", "file",
    "input_file", "item_reference", "container_upload", "image_generation_call",
})  # fmt: skip
_UNREADABLE_SOURCES = frozenset({"base64", "url", "file"})
_UNREADABLE_FIELDS = frozenset(
    {"previous_response_id", "conversation", "file_id", "b64_json", "input_audio", "prompt_embeds"}
)
_TOKENS = frozenset({"prompt", "input"})
# Set by servers, never by a model: to change them would break the answer.
_PROTOCOL = frozenset({
    "id", "object", "model", "type", "role", "system_fingerprint", "finish_reason", "stop_reason", "item_id", "call_id",
    "service_tier", "status", "encrypted_content", "signature",
})  # fmt: skip
# The answer's text once more, piece by piece or as numbers: taken out where the text had to be masked.
_ECHOES = frozenset({"logprobs", "top_logprobs", "token_ids", "prompt_token_ids", "prompt_logprobs"})
# What grows from event to event of a stream.
_GROWING = frozenset(
    {
        "content",
        "text",
        "reasoning_content",
        "reasoning",
        "refusal",
        "arguments",
        "delta",
        "partial_json",
        "thinking",
    }
)

# Contents that may be given in parts.
_PARTED = frozenset({"content", "system", "instructions", "output"})
_PART = object()
# The protocols' own words, which are in every request; anything else may be the caller's.
_WORDS = frozenset({
    "arguments", "array", "assistant", "boolean", "cache_control", "content", "description", "developer", "enum",
    "ephemeral", "function", "function_call", "function_call_output", "id", "input", "input_schema", "input_text",
    "integer", "items", "json_object", "json_schema", "message", "name", "number", "object", "output", "output_text",
    "parameters", "properties", "required", "role", "schema", "strict", "string", "system", "text", "thinking", "tool",
    "tool_call_id", "tool_calls", "tool_result", "tool_use", "tool_use_id", "type", "user",
})  # fmt: skip

Place = tuple[Any, ...]


class Unreadable(Exception):
    """Something that no guardrail can read; the message says what."""


@dataclass(slots=True)
class Text:
    """A text that may be spread over several places.

    `slots` are (holder, key) in the text's order; without a holder, the key itself is the text: the name of a field,
    or a number.
    """

    slots: list[tuple[Any, Any]] = field(default_factory=list)

    @property
    def value(self) -> str:
        return "".join(key if holder is None else holder[key] for holder, key in self.slots)

    def mask(self, spans: list[Span]) -> bool:
        """Puts each span's label where it begins; False, with nothing changed, when a name would have to change."""
        if any(holder is None for holder, _ in self.slots):
            return not spans
        at, changes = 0, []
        for holder, key in self.slots:
            piece: str = holder[key]
            changes.append((holder, key, _masked(piece, at, spans)))
            at += len(piece)
        for holder, key, piece in changes:
            holder[key] = piece
        return True


def _masked(piece: str, offset: int, spans: list[Span]) -> str:
    """The part of a longer text that begins at `offset`, with the spans that lie in it replaced."""
    kept, at, end = [], 0, len(piece)
    for span in spans:
        first, last = span.start - offset, span.end - offset
        if last <= 0 or first >= end:
            continue
        kept.append(piece[at : max(first, 0)])
        if first >= 0:
            kept.append(span.label)
        at = max(at, min(last, end))
    return "".join(kept) + piece[at:]


def of_request(document: dict[str, Any]) -> tuple[list[Text], list[Text]]:
    """Every text that a caller has sent, names of fields included. Raises Unreadable.

    Parts of one content are one text, as many a model's template joins them; the second list holds them apart, as
    others do.
    """
    texts: dict[Place, Text] = {}
    for name, value in document.items():
        if name == "model" or value is None:
            continue
        if name in _TOKENS and _has_tokens(value):
            raise Unreadable(f"`{name}` holds numbers of tokens; send it as text")
        if name in _UNREADABLE_FIELDS:
            raise Unreadable(f"`{name}`")
        _request_texts(document, name, texts)
    joined = [text for text in texts.values() if len(text.slots) > 1]
    return list(texts.values()), [Text([slot]) for text in joined for slot in text.slots]


def _request_texts(document: dict[str, Any], field_name: str, texts: dict[Place, Text]) -> None:
    # A stack of its own: a deep document must not be able to end ours.
    waiting: list[tuple[Any, Place, Any, Any]] = [(document[field_name], (field_name,), field_name, document)]
    while waiting:
        value, place, key, holder = waiting.pop()
        if isinstance(value, str):
            if key in ("role", "type") and value in _WORDS:
                continue
            if value.startswith("data:") and ";base64," in value[:200]:
                raise Unreadable("data in base64")
            texts.setdefault(place, Text()).slots.append((holder, key))
        elif isinstance(value, dict):
            _refuse_unreadable(value)
            part = place[-1] == _PART and isinstance(value.get("text"), str)
            for name, inner in reversed(value.items()):
                if name not in _WORDS:
                    texts[*place, id(value), name, "name"] = Text([(None, name)])
                below = place if part and name == "text" else (*place, id(value), name)
                waiting.append((inner, below, name, value))
        elif isinstance(value, list):
            for at in range(len(value) - 1, -1, -1):
                waiting.append((value[at], (*place, _PART if key in _PARTED else at), at, value))
        elif holder is not document and value is not None and not isinstance(value, bool):
            texts[*place, id(holder), key, "number"] = Text([(None, str(value))])


def _refuse_unreadable(value: dict[str, Any]) -> None:
    kind = value.get("type")
    if isinstance(kind, str) and kind in _UNREADABLE_TYPES:
        raise Unreadable(f"a part of the type `{kind}`")
    source = value.get("source")
    if isinstance(source, dict) and str(source.get("type")) in _UNREADABLE_SOURCES:
        raise Unreadable("a part that is no text")
    for name in _UNREADABLE_FIELDS & value.keys():
        if value[name] is not None:
            raise Unreadable(f"`{name}`")


def _has_tokens(value: Any) -> bool:
    return isinstance(value, list) and any(
        (isinstance(item, int) and not isinstance(item, bool))
        or (isinstance(item, list) and _has_tokens(item))
        for item in value
    )


class AnswerTexts:
    """Gathers the texts of an answer, given as one document or as the events of a stream in order."""

    def __init__(self) -> None:
        self._texts: dict[Place, Text] = {}
        self._documents: list[Any] = []

    @property
    def texts(self) -> list[Text]:
        return list(self._texts.values())

    def add(self, document: Any, *, event: bool = False) -> None:
        """Raises Unreadable for what is no text."""
        number = len(self._documents)
        self._documents.append(document)
        root: Place = ()
        if event and isinstance(document, dict):
            root = tuple(
                str(document.get(name))
                for name in ("type", "item_id", "output_index", "content_index", "index")
            )
        waiting: list[tuple[Any, Place, Any, Any]] = [(document, root, None, None)]
        while waiting:
            value, place, key, holder = waiting.pop()
            if isinstance(value, str):
                if key in _PROTOCOL or holder is None:
                    continue
                # Deltas grow together. All other texts stand for themselves.
                whole = not event or key not in _GROWING
                at = (*place, number) if whole else place
                self._texts.setdefault(at, Text()).slots.append((holder, key))
            elif isinstance(value, dict):
                _refuse_unreadable_answer(value)
                waiting += [
                    (inner, (*place, name), name, value)
                    for name, inner in reversed(value.items())
                    if name not in _ECHOES
                ]
                if "input" in place:
                    for name in value:
                        self._texts[*place, name, number, "name"] = Text([(None, name)])
            elif isinstance(value, list):
                for position in range(len(value) - 1, -1, -1):
                    item = value[position]
                    index = str(item.get("index", position)) if isinstance(item, dict) else position
                    waiting.append((item, (*place, index), position, value))
            elif "input" in place and value is not None and not isinstance(value, bool):
                # What a model hands to a tool may be a number.
                self._texts[*place, number, "number"] = Text([(None, str(value))])

    def forget_echoes(self) -> None:
        """Takes out what repeats the text, after it has been masked."""
        waiting = list(self._documents)
        while waiting:
            value = waiting.pop()
            if isinstance(value, dict):
                for name in _ECHOES & value.keys():
                    value[name] = [] if isinstance(value[name], list) else None
                waiting += value.values()
            elif isinstance(value, list):
                waiting += value


def _refuse_unreadable_answer(value: dict[str, Any]) -> None:
    if value.get("b64_json") is not None:
        raise Unreadable("a picture")
    audio = value.get("audio")
    if isinstance(audio, dict) and audio.get("data") is not None:
        raise Unreadable("speech")
    kind = value.get("type")
    if isinstance(kind, str) and kind in _UNREADABLE_TYPES:
        raise Unreadable(f"a part of the type `{kind}`")
