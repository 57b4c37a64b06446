"""Server-sent events on their way through: count the usage, take out what the caller did not ask for."""

import re
from collections.abc import Callable

MAX_EVENT_BYTES = 4 << 20

_INPUT = re.compile(rb'"(prompt_tokens|input_tokens)"\s*:\s*(\d{1,12})')
# Anthropic's input_tokens leave out what came from, or went into, a cache; OpenAI's prompt_tokens hold all.
_CACHED = re.compile(rb'"cache_(?:read|creation)_input_tokens"\s*:\s*(\d{1,12})')
_OUTPUT = re.compile(rb'"(?:completion_tokens|output_tokens)"\s*:\s*(\d{1,12})')
_BOUNDARY = re.compile(rb"\r?\n\r?\n")
# No choices at all, as engines send it, or one that says nothing, as LiteLLM sends it.
_NO_CHOICES = re.compile(
    rb'"choices"\s*:\s*\[\s*(?:\{\s*"index"\s*:\s*0\s*,\s*"delta"\s*:\s*\{\s*\}\s*\}\s*)?\]'
)
_FINISHED = re.compile(rb'"finish_reason"\s*:\s*"')
_NULL_CONTENT = re.compile(rb'"content"\s*:\s*null\s*,\s*|,?\s*"content"\s*:\s*null')


def find_usage(data: bytes) -> tuple[int, int] | None:
    """(prompt, completion) tokens from the last `usage` object of an answer, without parsing all of it.

    Inside a JSON string the quotes would be escaped, so the key cannot be text that a model wrote.
    """
    at = data.rfind(b'"usage"')
    if at < 0:
        return None
    tail = data[at : at + 2048]
    given, made = _INPUT.search(tail), _OUTPUT.search(tail)
    if given is None and made is None:
        return None
    prompt = int(given[2]) if given else 0
    if given is not None and given[1] == b"input_tokens":
        prompt += sum(int(count) for count in _CACHED.findall(tail))
    return prompt, int(made[1]) if made else 0


def _interesting(data: bytes) -> bool:
    return b'"usage"' in data or b'"content":null' in data or b'"content": null' in data


class EventFilter:
    """Passes events on as they come; `usage` holds what was counted so far.

    With `drop_usage`, the event that only carries usage (its `choices` say nothing) is taken out: the gateway
    asked the engine for it, the caller did not. A closing event's `content: null` is taken out as well, which
    strict clients refuse.

    `deltas` counts the events that brought something new: engines send one a token.
    """

    __slots__ = ("_drop_usage", "_mark", "_rest", "_sink", "deltas", "usage")

    def __init__(self, sink: Callable[[bytes], None], *, drop_usage: bool, mark: bytes = b'"delta"') -> None:
        self._sink = sink
        self._drop_usage = drop_usage
        self._mark = mark
        self._rest = b""
        self.deltas = 0
        self.usage: tuple[int, int] | None = None

    def feed(self, data: bytes) -> None:
        if self._rest:
            self.deltas -= self._rest.count(self._mark)
            data = self._rest + data
            self._rest = b""
        self.deltas += data.count(self._mark)
        if data.endswith(b"\n\n") and not _interesting(data):
            self._sink(data)  # whole events, nothing to do: the common case
            return
        kept: list[bytes] = []
        start = 0
        for boundary in _BOUNDARY.finditer(data):
            event = self._event(data[start : boundary.end()])
            if event:
                kept.append(event)
            start = boundary.end()
        rest = data[start:]
        if len(rest) > MAX_EVENT_BYTES:
            kept.append(rest)
            rest = b""
        self._rest = rest
        if kept:
            self._sink(b"".join(kept))

    def finish(self) -> None:
        """The upstream has ended; what is left is passed on."""
        if self._rest:
            event = self._event(self._rest)
            self._rest = b""
            if event:
                self._sink(event)

    def _event(self, event: bytes) -> bytes:
        if b'"usage"' in event:
            found = find_usage(event)
            if found is not None:
                known = self.usage or (0, 0)
                # Anthropic tells the prompt's length in the first event, the answer's in the last.
                self.usage = (found[0] or known[0], found[1] or known[1])
            if self._drop_usage and _NO_CHOICES.search(event):
                return b""
        if b"null" in event and _FINISHED.search(event):
            event = _NULL_CONTENT.sub(b"", event)
        return event
