"""Which guardrails a request has to pass, and passing them: before the model, and after it."""

import asyncio
import logging
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
from lisa.errors import LisaError
from lisa.guardrails.definition import Guardrail
from lisa.identity import Principal

from lisa_gateway import multipart
from lisa_gateway.endpoints import Endpoint
from lisa_gateway.guardrails import texts as readable
from lisa_gateway.guardrails.engines import TIME_LIMIT, Blocked, Judges, Source
from lisa_gateway.guardrails.held import Held
from lisa_gateway.guardrails.refusals import send_blocked
from lisa_gateway.guardrails.texts import AnswerTexts, Text, Unreadable
from lisa_gateway.http.exchange import Exchange
from lisa_gateway.validation import refuse

log = logging.getLogger(__name__)

# Endpoints whose answers are vectors, pictures and sounds.
_NO_TEXT = frozenset({"embeddings", "images/generations", "images/edits", "audio/speech"})
_BOUNDARY = re.compile(rb"\r?\n\r?\n")
_LINE = re.compile(rb"\r?\n")


class Guards:
    """Runs guardrails for all requests, in threads of its own: one that hangs holds up nobody else's sign-in."""

    def __init__(
        self, judges: Judges | None = None, *, time_limit: float = TIME_LIMIT, threads: int = 16
    ) -> None:
        self._judges = judges or Judges()
        self._time_limit = time_limit
        self._threads = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="guardrail")

    def guard(
        self, guardrails: tuple[Guardrail, ...], exchange: Exchange, endpoint: Endpoint, principal: Principal
    ) -> "Guard | None":
        """The guardrails that apply to the caller; None when there is none.

        No groups mean everyone, administrators and API tokens included.
        """
        applying = tuple(g for g in guardrails if not g.groups or not principal.groups.isdisjoint(g.groups))
        return Guard(self, applying, exchange, endpoint) if applying else None

    async def judge(
        self, guardrail: Guardrail, found: Sequence[Text], source: Source, exchange: Exchange
    ) -> bool:
        """Puts in masks; whether it did. Raises Blocked, or a 503 when there is no verdict."""
        values = [text.value for text in found]
        try:
            loop = asyncio.get_running_loop()
            work = loop.run_in_executor(self._threads, self._judges.judge, guardrail, values, source)
            spans = await asyncio.wait_for(work, self._time_limit)
        except Blocked:
            raise
        except Exception as error:  # whatever it is, there is no verdict
            raise self.unavailable(guardrail.name, exchange, f"{type(error).__name__}: {error}") from None
        if len(spans) != len(found):
            raise self.unavailable(guardrail.name, exchange, "not as many verdicts as texts")
        if not any(spans):
            return False
        if guardrail.action != "mask":
            raise Blocked
        for text, there in zip(found, spans, strict=True):
            if not text.mask(there):
                raise Blocked  # the name of a field, or a number, cannot be masked
        return True

    @staticmethod
    def unavailable(name: str, exchange: Exchange, reason: str) -> LisaError:
        log.error(
            "a guardrail gave no verdict",
            extra={"guardrail": name, "requestId": exchange.request_id.decode(), "reason": reason[:300]},
        )
        return LisaError(
            f"The guardrail `{name}` gave no verdict, so nothing is let through. Try again; if it stays so, the "
            "operators need the request id.",
            code="guardrail_unavailable",
            status=503,
        )

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


class Guard:
    """The guardrails of one request. `during_call` is as strict as `pre_call`: nothing reaches the model before."""

    def __init__(
        self, guards: Guards, guardrails: tuple[Guardrail, ...], exchange: Exchange, endpoint: Endpoint
    ) -> None:
        self._guards = guards
        self._before = tuple(g for g in guardrails if g.mode != "post_call")
        self._after = tuple(g for g in guardrails if g.mode == "post_call")
        self._exchange = exchange
        self._endpoint = endpoint
        self._request: dict[str, Any] = {}

    @property
    def holds(self) -> bool:
        """Whether the answer must be kept back until it has been judged."""
        return bool(self._after)

    async def admits(self, document: dict[str, Any]) -> bool:
        """Masks the request in place. False when it was blocked, and that has been answered.

        Raises a 400 for what cannot be read, a 503 when there is no verdict.
        """
        self._request = document
        if self._after and self._endpoint.name in _NO_TEXT:
            raise self._unreadable(self._after[0], "the answer, which is no text")
        if not self._before:
            return True
        try:
            found, pieces = readable.of_request(document)
        except Unreadable as error:
            raise self._unreadable(self._before[0], str(error)) from None
        return await self._pass(self._before, found, "INPUT", "request", pieces) is not None

    async def admits_form(self, form: multipart.Form) -> bool:
        """The same for a form, whose files no guardrail can read."""
        fields = {str(at): part.data.decode("utf-8", "replace") for at, part in enumerate(form.parts)}
        if self._before:
            for part in form.parts:
                if part.filename is not None:
                    raise self._unreadable(self._before[0], f"the file in `{part.name[:64]}`")
        texts = {name: text for name, text in fields.items() if form.parts[int(name)].name != "model"}
        before = dict(texts)
        if not await self.admits(texts):
            return False
        for name, text in texts.items():
            if text != before[name]:
                part = form.parts[int(name)]
                form.parts[int(name)] = multipart.Part(
                    part.name, part.filename, part.content_type, text.encode()
                )
        return True

    async def release(self, held: Held) -> None:
        """Judges the answer that was held back, and sends it or what stands in its place."""
        if held.broken:
            raise self._guards.unavailable(self._after[0].name, self._exchange, "the answer broke off")
        content, kind = held.content, held.answer_headers.lower()
        gathered = AnswerTexts()
        parts: list[tuple[bytes, list[Any] | None]] = []
        try:
            if b"text/event-stream" in kind:
                parts = _events(content, gathered)
            elif b"application/json" in kind:
                document = orjson.loads(content)
                gathered.add(document)
                parts = [(b"", [document])]
            elif b"content-type: text/" in kind:
                lines = [content.decode()]
                gathered.add({"lines": lines})
                parts = [(b"", None)]
            else:
                raise Unreadable("the answer, which is no text")
        except Unreadable as error:
            raise self._unreadable(self._after[0], str(error)) from None
        except ValueError as error:
            raise self._guards.unavailable(self._after[0].name, self._exchange, str(error)) from None
        masked = await self._pass(self._after, gathered.texts, "OUTPUT", "answer")
        if masked is None:
            return
        if masked:
            gathered.forget_echoes()
            if b"text/event-stream" in kind:
                content = b"".join(_written(raw, documents) for raw, documents in parts)
            elif b"application/json" in kind:
                content = orjson.dumps(document)
            else:
                content = lines[0].encode()
        held.release(self._exchange, content)

    async def _pass(
        self,
        guardrails: tuple[Guardrail, ...],
        found: list[Text],
        source: Source,
        what: str,
        pieces: Sequence[Text] = (),
    ) -> bool | None:
        """Whether anything was masked; None when it was blocked, and that has been answered."""
        masked = False
        for guardrail in guardrails:
            try:
                masked |= await self._guards.judge(guardrail, found, source, self._exchange)
                if pieces and guardrail.identifier.startswith("builtin:"):
                    masked |= await self._guards.judge(guardrail, pieces, source, self._exchange)
            except Blocked:
                log.info(
                    "a guardrail blocked",
                    extra={"guardrail": guardrail.name, "requestId": self._exchange.request_id.decode()},
                )
                send_blocked(self._exchange, self._endpoint, self._request, guardrail.name, what)
                return None
        return masked

    @staticmethod
    def _unreadable(guardrail: Guardrail, what: str) -> LisaError:
        return refuse(
            f"The guardrail `{guardrail.name}` of this model cannot read this: {what}.",
            None,
            "guardrail_unreadable",
        )


def _events(content: bytes, gathered: AnswerTexts) -> list[tuple[bytes, list[Any] | None]]:
    """The events of a stream with what their data hold, which goes to `gathered`. Raises ValueError, Unreadable."""
    parts: list[tuple[bytes, list[Any] | None]] = []
    for raw in _BOUNDARY.split(content):
        lines = _LINE.split(raw)
        data = b"\n".join(line[5:].strip() for line in lines if line.startswith(b"data:"))
        if not data or data == b"[DONE]":
            # Comments and the mark of the end; anything else would be a text that nobody reads.
            if any(
                line and not line.startswith((b":", b"data:", b"event:", b"id:", b"retry:")) for line in lines
            ):
                raise ValueError("an event that cannot be read")
            parts.append((raw, None))
            continue
        document = orjson.loads(data)
        gathered.add(document, event=True)
        parts.append((raw, [document]))
    return parts


def _written(raw: bytes, documents: list[Any] | None) -> bytes:
    if not raw:
        return b""
    if documents is None:
        return raw + b"\n\n"
    kept = [line for line in _LINE.split(raw) if not line.startswith(b"data:")]
    return b"\n".join([*kept, b"data: " + orjson.dumps(documents[0])]) + b"\n\n"
