"""Who judges: the built-in detectors, and Bedrock Guardrails. All of it runs in a thread and may take its time."""

import re
from collections.abc import Callable, Sequence
from typing import Any, Literal

import boto3
import regex
from botocore.config import Config
from lisa.guardrails.definition import BUILTIN_PATTERNS, BUILTIN_PII, Guardrail
from lisa.guardrails.pii import Span, apart, find

Source = Literal["INPUT", "OUTPUT"]
Spans = list[list[Span]]

# A guardrail's whole time for one request, in seconds.
TIME_LIMIT = 5.0
PATTERN_SECONDS = 2.0
# Bedrock takes 25 text units of 1000 characters; what lies across a cut is seen by both sides.
PIECE, OVERLAP = 24_000, 500
MAX_PIECES = 20
MAX_CHARACTERS = 1_000_000
_AWS = Config(connect_timeout=2, read_timeout=4, retries={"mode": "standard", "total_max_attempts": 1})


class Blocked(Exception):
    """The guardrail does not let this through, and says not where."""


class Judges:
    """Judges texts by a guardrail. Used from several threads."""

    def __init__(self, open_bedrock: Callable[[str | None], Any] | None = None) -> None:
        self._open_bedrock = open_bedrock or bedrock
        self._bedrock: dict[str | None, Any] = {}

    def judge(self, guardrail: Guardrail, texts: Sequence[str], source: Source) -> Spans:
        """What was found in each text. Raises Blocked, and anything else when there is no verdict."""
        if guardrail.identifier.startswith("builtin:"):
            _check_length(texts, MAX_CHARACTERS)
        if guardrail.identifier == BUILTIN_PII:
            return [find(text, guardrail.kinds) for text in texts]
        if guardrail.identifier == BUILTIN_PATTERNS:
            return _patterns(guardrail, texts)
        if guardrail.identifier.startswith("builtin:"):
            raise LookupError(f"there is no built-in guardrail {guardrail.identifier!r}")
        self._ask_bedrock(guardrail, "\n\n".join(text for text in texts if text.strip()), source)
        return [[] for _ in texts]

    def _ask_bedrock(self, guardrail: Guardrail, text: str, source: Source) -> None:
        if not text:
            return
        _check_length([text], PIECE * MAX_PIECES)
        pieces = [text[at : at + PIECE + OVERLAP] for at in range(0, len(text), PIECE)]
        client = self._client(guardrail)
        for piece in pieces:
            answer = client.apply_guardrail(
                guardrailIdentifier=guardrail.identifier,
                guardrailVersion=guardrail.version,
                source=source,
                content=[{"text": {"text": piece}}],
            )
            action = answer.get("action")
            if action == "GUARDRAIL_INTERVENED":
                raise Blocked
            # Only this very word lets it through: what we do not know is no verdict.
            if action != "NONE":
                raise ValueError(f"Bedrock answered the action {action!r}")

    def _client(self, guardrail: Guardrail) -> Any:
        region = guardrail.identifier.split(":")[3] if guardrail.identifier.startswith("arn:") else None
        client = self._bedrock.get(region)
        if client is None:
            client = self._bedrock[region] = self._open_bedrock(region)
        return client


def _check_length(texts: Sequence[str], most: int) -> None:
    """What would take longer than there is time for is not begun: a thread cannot be stopped."""
    length = sum(map(len, texts))
    if length > most:
        raise OverflowError(f"the text has {length} characters, more than {most}")


def bedrock(region: str | None) -> Any:
    """A client of its own session, because boto3's sessions are not to be shared by threads; clients are."""
    return boto3.session.Session().client("bedrock-runtime", region_name=region, config=_AWS)


def _patterns(guardrail: Guardrail, texts: Sequence[str]) -> Spans:
    """`regex` gives up a search after a time and leaves the interpreter to others meanwhile; `re` does neither."""
    compiled = [_compiled(pattern) for pattern in guardrail.patterns]
    return [
        apart(
            Span(match.start(), match.end(), "[REDACTED]")
            for pattern in compiled
            for match in pattern.finditer(text, timeout=PATTERN_SECONDS, concurrent=True)
            if match.end() > match.start()
        )
        for text in texts
    ]


def _compiled(pattern: str) -> Any:
    re.compile(pattern)  # what was accepted; `regex` knows more, which nobody has checked
    return regex.compile(pattern, regex.VERSION0)
