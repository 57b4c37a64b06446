"""Who is calling: one path for every header and every kind of token."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from lisa.errors import LisaError, Unauthenticated
from lisa.identity import Principal, TokenVerifier, bearer_token
from lisa.identity.service_key import is_service_key
from lisa.tokens.format import is_api_token

from lisa_gateway.audit import Audit
from lisa_gateway.http.exchange import Exchange
from lisa_gateway.retrieval.service_key import ServiceKey
from lisa_gateway.upstream_errors import unavailable

# A token is a token, whichever header brings it.
_CREDENTIALS = (b"authorization", b"api-key", b"x-api-key")
BUSY_RETRY_SECONDS = 2
MAX_LOOKUPS = 256  # API tokens that wait for the table: more would wait for seconds


class Callers:
    def __init__(self, verifier: TokenVerifier, service_key: ServiceKey, audit: Audit) -> None:
        self._verifier = verifier
        self._service_key = service_key
        self._audit = audit
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="verify")
        # Others, so that no flood of made-up API tokens keeps a sign-in waiting for the table.
        self._lookups = ThreadPoolExecutor(max_workers=4, thread_name_prefix="lookup")
        self._looked_up = 0

    async def who(self, exchange: Exchange) -> Principal:
        """Raises Unauthenticated, Forbidden or Unavailable when it is not somebody who may come in."""
        headers = exchange.headers
        value = headers.get(b"authorization")
        principal = None
        if value is not None and b"api-key" not in headers and b"x-api-key" not in headers:
            # The common case: a token that has been verified before, and no other beside it.
            principal = self._verifier.cached(value[7:] if value[:7] == b"Bearer " else value)
        if principal is None:
            token = _token(headers)
            principal = self._verifier.cached(token.encode())
            if principal is None:
                try:
                    principal = await self._verified(token, exchange)
                except LisaError as error:
                    self._audit.refused(error, exchange)
                    raise
                self._audit.accepted(token, principal, exchange)
        exchange.principal = principal
        return principal

    async def _verified(self, token: str, exchange: Exchange) -> Principal:
        if is_service_key(token):
            return await self._service_key.principal(token, exchange.endpoint)
        # May have to fetch the issuer's keys or a row, and a signature takes a while: not in the event loop.
        run = asyncio.get_running_loop().run_in_executor
        if not is_api_token(token):
            return await run(self._threads, self._verifier.verify, token)
        if self._looked_up >= MAX_LOOKUPS:
            raise unavailable("Too many new API tokens are being checked; try again.", BUSY_RETRY_SECONDS)
        self._looked_up += 1
        try:
            return await run(self._lookups, self._verifier.verify, token)
        finally:
            self._looked_up -= 1


def _token(headers: dict[bytes, bytes]) -> str:
    """The token in the headers; raises Unauthenticated when there is none, or when two disagree."""
    token = None
    for name in _CREDENTIALS:
        value = headers.get(name)
        if not value:
            continue
        given = bearer_token(value.decode("latin-1"))
        if token is not None and given != token:
            raise Unauthenticated("Two different tokens were sent; send one.")
        token = given
    if token is None:
        raise Unauthenticated("No token was sent. Send `Authorization: Bearer <token>`.")
    return token
