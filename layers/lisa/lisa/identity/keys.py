"""The issuer's signing keys: fetched once, kept, and fetched again only when there is a reason to."""

import json
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

import jwt

from lisa.errors import Unavailable

FETCH_TIMEOUT = 3.0
MAX_DOCUMENT_BYTES = 1 << 20
MIN_RSA_BITS = 2048

# The JOSE algorithms that we accept, with the key type each needs (RFC 7518, 3.1).
KEY_TYPES = {"RS256": "RSA", "ES256": "EC"}

FetchJson = Callable[[str], Any]


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Keys are taken from the configured address or not at all."""

    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirect)


def fetch_json(url: str) -> Any:
    """A small JSON document by HTTP GET; raises OSError or ValueError."""
    if urllib.parse.urlsplit(url).scheme not in {"https", "http"}:
        raise ValueError(f"not an http address: {url}")
    with _opener.open(url, timeout=FETCH_TIMEOUT) as response:
        return json.loads(response.read(MAX_DOCUMENT_BYTES))


class KeySet:
    """The keys of one issuer by `kid`.

    Refetched after `max_age` seconds, or when a token names a key that is not known, but never more often
    than every `min_interval` seconds, whatever callers send. While one caller fetches, the others use the
    keys at hand; only when there are none yet do they wait for that one fetch. When the issuer is down the
    last keys stay in use.
    """

    def __init__(
        self,
        issuer: str,
        jwks_url: str = "",
        *,
        max_age: float = 900,
        min_interval: float = 5,
        fetch: FetchJson = fetch_json,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer = issuer
        self._jwks_url = jwks_url
        self._max_age = max_age
        self._min_interval = min_interval
        self._fetch = fetch
        self._clock = clock
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._lock = threading.Lock()

    def find(self, kid: str | None) -> jwt.PyJWK | None:
        """The key of that name, or None; raises Unavailable when no keys could ever be fetched.

        A token need not name its key where the issuer has only one (OpenID Connect Core 1.0, 10.1).
        """
        key = self._at_hand(kid)
        if key is not None and not self._stale():
            return key
        self._refresh()
        if self._fetched_at is None:
            raise Unavailable("The sign-in service cannot be reached to check the token.", retry_after=5)
        return self._at_hand(kid)

    def _at_hand(self, kid: str | None) -> jwt.PyJWK | None:
        keys = self._keys
        if kid is None:
            return next(iter(keys.values())) if len(keys) == 1 else None
        return keys.get(kid)

    def _stale(self) -> bool:
        return self._fetched_at is None or self._clock() - self._fetched_at > self._max_age

    def _refresh(self) -> None:
        seen = self._tried_at
        # Without keys there is nothing to answer with: wait for the fetch under way. With keys, do not.
        if not self._lock.acquire(blocking=self._fetched_at is None):
            return
        try:
            if self._tried_at != seen:
                return  # another caller fetched while this one waited
            if seen is not None and self._clock() - seen < self._min_interval:
                return
            try:
                keys = self._load()
            except (OSError, ValueError):
                return
            finally:
                self._tried_at = self._clock()
            self._keys, self._fetched_at = keys, self._clock()
        finally:
            self._lock.release()

    def _load(self) -> dict[str, jwt.PyJWK]:
        document = self._fetch(self._jwks_url or self._discover())
        if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
            raise ValueError("not a JSON Web Key Set")
        return {key.key_id: key for entry in document["keys"] if (key := usable_key(entry)) and key.key_id}

    def _discover(self) -> str:
        # OpenID Connect Discovery 1.0, 4: the document must name the very issuer that was asked.
        document = self._fetch(self._issuer.rstrip("/") + "/.well-known/openid-configuration")
        if not isinstance(document, dict) or document.get("issuer") != self._issuer:
            raise ValueError("the discovery document names another issuer")
        url = document.get("jwks_uri")
        if not isinstance(url, str):
            raise ValueError("the discovery document has no jwks_uri")
        if self._issuer.startswith("https:") and not url.startswith("https:"):
            raise ValueError("jwks_uri is not https")
        return url


def usable_key(entry: Any) -> jwt.PyJWK | None:
    """A signing key of a kind that we accept, else None: sets may hold other kinds too."""
    if (
        not isinstance(entry, dict)
        or not isinstance(entry.get("kid"), str)
        or entry.get("use", "sig") != "sig"
    ):
        return None
    kind = entry.get("kty")
    algorithm = next((name for name, kty in KEY_TYPES.items() if kty == kind), None)
    if algorithm is None or entry.get("alg", algorithm) != algorithm:
        return None
    if kind == "EC" and entry.get("crv") != "P-256":
        return None
    try:
        key = jwt.PyJWK(entry, algorithm=algorithm)
    except jwt.PyJWTError:
        return None
    if kind == "RSA" and key.key.key_size < MIN_RSA_BITS:
        return None
    return key
