"""Carries a request to a target and its answer back, both as they come."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

import aiohttp
from aiohttp import hdrs, web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from lisa_local.door.targets import TargetGroup

logger = logging.getLogger("lisa.door.proxy")

IDLE_SECONDS = 900
"""A target that sends nothing for this long is given up: a large model may think for minutes."""

CONNECT_SECONDS = 5

REPLAYABLE_BYTES = 256 * 1024
"""A body up to this size is read before it is sent on, so that a lost connection can be tried again."""

MAX_HEADER_BYTES = 64 * 1024

_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)

_FORWARDED = frozenset({"forwarded", "x-real-ip"})

_LOST = (aiohttp.ClientConnectionError, ConnectionError)


Adapt = Callable[[CIMultiDict[str], bytes], bytes]
"""Changes an answer's headers in place, and answers its new body; for small answers, which are read whole."""


class BadGatewayError(Exception):
    """The target could not be reached, or broke off before it answered."""


class SlowGatewayError(Exception):
    """The target did not begin to answer in time."""


class NoTargetError(Exception):
    """No target of the group takes requests now."""


def forwarded_headers(request: web.BaseRequest, *, trust_caller: bool) -> CIMultiDict[str]:
    """The request's headers for the next hop, with X-Forwarded-*.

    A caller that is not trusted may not say who it, or somebody before it, is.
    """
    headers = _end_to_end(request.headers)
    peer = request.transport.get_extra_info("peername") if request.transport else None
    address = peer[0] if peer else "127.0.0.1"
    chain = ", ".join(request.headers.getall("X-Forwarded-For", ())) if trust_caller else ""
    host = request.headers.get(hdrs.HOST, "")
    for name in [
        name for name in headers if name.lower() in _FORWARDED or name.lower().startswith("x-forwarded-")
    ]:
        if not trust_caller or name.lower() == "x-forwarded-for":
            headers.popall(name, None)
    headers["X-Forwarded-For"] = f"{chain}, {address}" if chain else address
    headers.setdefault("X-Forwarded-Proto", "http")
    headers.setdefault("X-Forwarded-Host", host)
    headers.popall(hdrs.EXPECT, None)
    return headers


def _end_to_end(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    dropped = _HOP_BY_HOP | {
        token.strip().lower() for value in headers.getall(hdrs.CONNECTION, ()) for token in value.split(",")
    }
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in dropped)


class Body:
    """A request's body: kept if small, streamed if not."""

    def __init__(self, request: web.BaseRequest) -> None:
        self._request = request
        self._kept: bytes | None = None
        self.consumed = False

    async def prepare(self) -> None:
        """Read a small body; say `100 Continue` to a caller that waits for it."""
        request = self._request
        if not request.body_exists:
            self._kept = b""
            return
        if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue" and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        length = request.content_length
        if length is not None and length <= REPLAYABLE_BYTES:
            self._kept = await request.content.read(-1)

    @property
    def replayable(self) -> bool:
        return self._kept is not None or not self.consumed

    def data(self) -> bytes | AsyncIterator[bytes] | None:
        if self._kept is not None:
            return self._kept or None
        return self._stream()

    async def _stream(self) -> AsyncIterator[bytes]:
        self.consumed = True
        async for chunk in self._request.content.iter_any():
            yield chunk


class Proxy:
    """One pool of connections to all targets."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=4, use_dns_cache=False),
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=CONNECT_SECONDS, sock_read=IDLE_SECONDS
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=(hdrs.USER_AGENT, hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.CONTENT_TYPE),
                max_line_size=MAX_HEADER_BYTES,
                max_field_size=MAX_HEADER_BYTES,
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def to_group(
        self, request: web.BaseRequest, group: TargetGroup | None, target: str, headers: CIMultiDict[str]
    ) -> web.StreamResponse:
        """Carry a request to a target of a group, and to another one if the first is lost before it answers.

        Args:
            request: the caller's request.
            group: its target group.
            target: path and query, as they were sent.
            headers: what to send.

        Raises:
            NoTargetError: no target takes requests.
            BadGatewayError: two attempts were lost.
            SlowGatewayError: no answer within `IDLE_SECONDS`.
        """
        body = Body(request)
        await body.prepare()
        lost = None
        for attempt in (1, 2):
            chosen = group.choose(but=lost) if group is not None else None
            if chosen is None and lost is not None and group is not None:
                chosen = lost if lost.health == "healthy" else None
            if chosen is None:
                if lost is not None:
                    raise BadGatewayError(f"{lost.origin} is lost")
                raise NoTargetError
            with chosen.request():
                try:
                    return await self._carry(request, body, chosen.origin + target, headers)
                except _Lost as error:
                    if error.refused:
                        chosen.lost()
                    logger.info("%s: %s", chosen.origin, error)
                    if attempt == 2 or not body.replayable:
                        raise BadGatewayError(str(error)) from None
                    lost = chosen
        raise AssertionError("two attempts return or raise")

    async def to_origin(
        self,
        request: web.BaseRequest,
        url: str,
        headers: CIMultiDict[str],
        adapt: Adapt | None = None,
    ) -> web.StreamResponse:
        """Carry a request to one address.

        Raises:
            BadGatewayError: it could not be reached, or broke off.
            SlowGatewayError: no answer within `IDLE_SECONDS`.
        """
        body = Body(request)
        await body.prepare()
        try:
            return await self._carry(request, body, url, headers, adapt)
        except _Lost as error:
            raise BadGatewayError(str(error)) from None

    async def _carry(
        self,
        request: web.BaseRequest,
        body: Body,
        url: str,
        headers: CIMultiDict[str],
        adapt: Adapt | None = None,
    ) -> web.StreamResponse:
        try:
            upstream = await self._client().request(
                request.method,
                URL(url, encoded=True),
                headers=headers,
                data=body.data(),
                allow_redirects=False,
            )
        except aiohttp.ClientConnectorError as error:
            raise _Lost(f"cannot connect: {error}", refused=True) from None
        except TimeoutError:
            raise SlowGatewayError from None
        except (*_LOST, aiohttp.ClientPayloadError, aiohttp.ClientResponseError) as error:
            raise _Lost(f"broke off before it answered: {error!r}", refused=False) from None
        async with upstream:
            return await _answer(request, upstream, adapt)


class _Lost(Exception):
    def __init__(self, message: str, *, refused: bool) -> None:
        super().__init__(message)
        self.refused = refused


async def _answer(
    request: web.BaseRequest,
    upstream: aiohttp.ClientResponse,
    adapt: Adapt | None,
) -> web.StreamResponse:
    headers = _end_to_end(upstream.headers)
    if adapt is not None:
        body = adapt(headers, await upstream.read())
        headers.popall(hdrs.CONTENT_LENGTH, None)
        return web.Response(status=upstream.status, reason=upstream.reason, headers=headers, body=body)
    headers.setdefault(hdrs.SERVER, "lisa")
    response = web.StreamResponse(status=upstream.status, reason=upstream.reason, headers=headers)
    bodiless = request.method == hdrs.METH_HEAD or upstream.status in (204, 304)
    if not bodiless and hdrs.CONTENT_LENGTH not in headers and request.version >= aiohttp.HttpVersion11:
        response.enable_chunked_encoding()
    await response.prepare(request)
    if bodiless:
        await response.write_eof()
        return response
    try:
        async for chunk in upstream.content.iter_any():
            await response.write(chunk)
    except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
        # The answer has begun: break it off, so that the caller sees that it is not whole.
        logger.warning("%s broke off its answer: %r", upstream.url.origin(), error)
        if request.transport is not None:
            request.transport.abort()
        raise asyncio.CancelledError from None
    await response.write_eof()
    return response


def raw_target(request: web.BaseRequest) -> str:
    """Path and query as they stand in the request line."""
    target = request.raw_path
    if not target.startswith("/"):  # the absolute form, which proxies get
        url = URL(target, encoded=True)
        target = url.raw_path_qs
    return target
