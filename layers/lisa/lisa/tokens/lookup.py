"""From an API token to the principal it speaks for. Functions and the gateway use the same."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from lisa.errors import LisaError, Unauthenticated, Unavailable
from lisa.tokens.format import is_well_formed
from lisa.tokens.record import ApiToken
from lisa.tokens.used import LastUsed

log = logging.getLogger(__name__)

UNKNOWN_SECONDS = 60.0
MAX_UNKNOWN = 10_000


class Rows(Protocol):
    """What is needed of the tokens table."""

    def by_digest(self, digest: str) -> ApiToken | None: ...

    def mark_used(self, uuid: str, at: int, expires_at: int) -> None: ...


def table_of(name: str) -> Rows:
    """The tokens table. AWS's packages are imported here, so that who never sees an API token never loads them."""
    from lisa import aws
    from lisa.tokens.store import TokenStore

    return TokenStore(name, aws.impatient_dynamodb())


class ApiTokens:
    """The tokens table as verifiers see it. `open_rows` is called once, when the first token arrives.

    Tokens that nobody has issued are remembered for a while, in a bounded set of digests, so that a program that goes
    on with a revoked token costs one read a minute.
    """

    def __init__(self, open_rows: Callable[[], Rows], *, clock: Callable[[], float] = time.time) -> None:
        self._open = open_rows
        self._rows: Rows | None = None
        self._lock = threading.Lock()
        self._clock = clock
        self._unknown: dict[str, float] = {}
        self.used = LastUsed(lambda *note: self._table().mark_used(*note))

    def find(self, token: str, digest: str) -> ApiToken:
        """The row of a token that is good now; `digest` is its SHA-256 in hexadecimal digits.

        Raises Unauthenticated for one that is malformed, unknown, revoked or expired, Unavailable when the table
        cannot be read. May wait for the table.
        """
        if not is_well_formed(token):
            raise Unauthenticated("The API token is mistyped or cut off: its checksum is wrong.")
        now = self._clock()
        if self._unknown.get(digest, 0.0) > now:
            raise _unknown()
        try:
            found = self._read(digest)
        except LisaError:
            raise
        except Exception as error:  # boto3's many: whichever it is, it is no verdict on the token
            log.warning("the tokens table cannot be read", extra={"error": type(error).__name__})
            raise Unavailable("API tokens cannot be checked just now; try again.", retry_after=2) from error
        if found is None:
            self._remember(digest, now)
            raise _unknown()
        if found.expires_at <= now:
            raise Unauthenticated("The API token has expired: create another one.")
        self.used.note(found.uuid, found.expires_at, now)
        return found

    def _read(self, digest: str) -> ApiToken | None:
        found = self._table().by_digest(digest)
        if found is None or any(self._table().by_digest(ancestor) is None for ancestor in found.ancestors):
            return None
        return found

    def _table(self) -> Rows:
        if self._rows is None:
            with self._lock:
                if self._rows is None:
                    self._rows = self._open()
        return self._rows

    def _remember(self, digest: str, now: float) -> None:
        with self._lock:
            while len(self._unknown) >= MAX_UNKNOWN:
                del self._unknown[next(iter(self._unknown))]
            self._unknown[digest] = now + UNKNOWN_SECONDS


def _unknown() -> Unauthenticated:
    return Unauthenticated("The API token is not known: it was revoked, or never issued here.")
