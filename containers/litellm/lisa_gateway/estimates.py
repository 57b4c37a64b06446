"""Tokens of answers that did not come to their end, where a model would have told its usage.

An engine works for a caller who leaves too. What it made is counted by the events that it sent, one a token; the
prompt is reckoned at four characters a token. Both are marked as estimated wherever they are shown.
"""

from typing import Any

import orjson

from lisa_gateway.endpoints import Endpoint
from lisa_gateway.http.exchange import Exchange
from lisa_gateway.sse import EventFilter

CHARACTERS_PER_TOKEN = 4

# The fields that make up a prompt, by endpoint; other endpoints use no tokens.
_PROMPTS = {
    "chat/completions": ("messages", "tools"),
    "completions": ("prompt", "suffix"),
    "responses": ("input", "instructions", "tools"),
    "messages": ("messages", "system", "tools"),
    "embeddings": ("input",),
}
# What stands in these is no text: addresses, pictures and sounds, and words of the protocol.
_NO_TEXT = frozenset({"type", "role", "id", "url", "image_url", "data", "input_audio", "file", "source"})


def delta_mark(endpoint: Endpoint) -> bytes:
    """What each event of a stream holds that brings something new. Inside a text its quotes would be escaped."""
    return b'"text"' if endpoint.name == "completions" else b'"delta"'


def of_stream(exchange: Exchange, endpoint: Endpoint, events: EventFilter, *, whole: bool) -> None:
    """Sets the usage of a stream as far as it came."""
    exchange.usage = events.usage
    if endpoint.name not in _PROMPTS or (whole and (events.usage is not None or not events.deltas)):
        return
    # The first event of a chat only says that it begins.
    made = events.deltas - (endpoint.name == "chat/completions")
    told = events.usage or (0, 0)
    exchange.usage = (told[0] or prompt_tokens(exchange, endpoint), max(told[1], made, 0))
    exchange.estimated = True


def of_nothing(exchange: Exchange, endpoint: Endpoint) -> None:
    """Sets the usage when the caller left before there was an answer: the prompt, at least."""
    if exchange.usage is None and endpoint.name in _PROMPTS:
        exchange.usage = (prompt_tokens(exchange, endpoint), 0)
        exchange.estimated = True


def prompt_tokens(exchange: Exchange, endpoint: Endpoint) -> int:
    return document_tokens(orjson.loads(exchange.body), endpoint)


def document_tokens(document: dict[str, Any], endpoint: Endpoint) -> int:
    """How long the prompt in a request is."""
    characters = sum(_characters(document.get(name)) for name in _PROMPTS[endpoint.name])
    return -(-characters // CHARACTERS_PER_TOKEN)


def _characters(root: Any) -> int:
    found, waiting = 0, [root]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            found += len(value)
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            waiting += [part for name, part in value.items() if name not in _NO_TEXT]
        elif isinstance(value, int) and not isinstance(value, bool):
            found += CHARACTERS_PER_TOKEN  # prompts may come as numbers of tokens
    return found
