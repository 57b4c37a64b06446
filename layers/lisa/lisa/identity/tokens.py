"""Turns a token into a Principal, or refuses it: a JSON Web Token (RFC 7519, RFC 8725) or an API token."""

import hashlib
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import jwt
from jwt.utils import base64url_decode

from lisa.errors import Forbidden, Unauthenticated, Unavailable
from lisa.identity.keys import KEY_TYPES, KeySet
from lisa.identity.principal import Principal
from lisa.identity.settings import IdentitySettings, ParameterReader, read_parameter
from lisa.tokens.format import is_api_token
from lisa.tokens.lookup import ApiTokens, table_of

MAX_TOKEN_BYTES = 16 * 1024
CLOCK_SKEW = 30.0  # seconds
# For so long a revoked API token may still be honoured here; API Gateway adds its 30 s.
API_TOKEN_SECONDS = 25.0


def bearer_token(header_value: str) -> str:
    """The token in a header's value: bare, or after `Bearer` in any case.

    Raises Unauthenticated when there is none, or when it holds anything but visible ASCII.
    """
    value = header_value.strip(" \t")
    if value[:6].lower() == "bearer" and (len(value) == 6 or value[6] in " \t"):
        value = value[6:].strip(" \t")
    if not value:
        raise Unauthenticated("No token was sent. Send `Authorization: Bearer <token>`.")
    if not value.isascii() or not value.isprintable() or " " in value:
        raise Unauthenticated("The token is malformed. Send `Authorization: Bearer <token>`.")
    return value


class TokenCache:
    """Principals of tokens verified before, by the SHA-256 of the whole token.

    Bounded in size (the oldest entry goes first) and in time: `max_age` seconds after its verification a
    token is verified again, so that a key the issuer has withdrawn stops being honoured.
    """

    def __init__(self, size: int = 10_000, max_age: float = 300) -> None:
        self._size = size
        self._max_age = max_age
        self._entries: dict[bytes, tuple[float, Principal]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, digest: bytes, now: float) -> Principal | None:
        entry = self._entries.get(digest)
        if entry is None:
            return None
        if now >= entry[0]:
            with self._lock:
                self._entries.pop(digest, None)
            return None
        return entry[1]

    def put(self, digest: bytes, principal: Principal, now: float) -> None:
        if principal.token_id:
            until = min(principal.expires_at, now + API_TOKEN_SECONDS)
        else:
            until = min(principal.expires_at + CLOCK_SKEW, now + self._max_age)
        with self._lock:
            while len(self._entries) >= self._size:
                del self._entries[next(iter(self._entries))]
            self._entries[digest] = (until, principal)


class TokenVerifier:
    """Verifies sign-ins of one issuer, and API tokens. Safe to use from several threads."""

    def __init__(
        self,
        settings: IdentitySettings,
        *,
        keys: KeySet | None = None,
        cache: TokenCache | None = None,
        api_tokens: ApiTokens | None = None,
        parameters: ParameterReader = read_parameter,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._keys = keys or KeySet(settings.issuer, settings.jwks_url)
        self._cache = TokenCache() if cache is None else cache
        self.api_tokens = api_tokens
        self._parameters = parameters
        self._client_id = settings.client_id
        self._clock = clock

    @classmethod
    def from_settings(cls, settings: IdentitySettings) -> "TokenVerifier":
        table = settings.tokens_table
        return cls(settings, api_tokens=ApiTokens(lambda: table_of(table)) if table else None)

    def cached(self, token: bytes) -> Principal | None:
        """The principal of a token verified before; never waits for anything."""
        return self._cache.get(hashlib.sha256(token).digest(), self._clock())

    def verify(self, token: str) -> Principal:
        """The principal that the token speaks for.

        Raises Unauthenticated when the token is not to be trusted, Forbidden when its user is outside the
        group that may use this deployment, Unavailable when the issuer's keys could never be fetched, or the
        table of API tokens cannot be read. May wait for either.
        """
        digest = _digest(token)
        known = self._cache.get(digest, self._clock())
        if known is not None:
            return known
        principal = (
            self._api_principal(token, digest)
            if is_api_token(token)
            else self._principal(self._claims(token))
        )
        self._cache.put(digest, principal, self._clock())
        return principal

    def _api_principal(self, token: str, digest: bytes) -> Principal:
        if self.api_tokens is None:
            raise Unauthenticated("API tokens are not used here; sign in.")
        found = self.api_tokens.find(token, digest.hex())
        return self._speaker(found.user, frozenset(found.groups), float(found.expires_at), found.uuid)

    def _claims(self, token: str) -> dict[str, Any]:
        if len(token) > MAX_TOKEN_BYTES or not token.isascii():
            raise Unauthenticated("The token is not a JSON Web Token.")
        header = _header(token)
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in KEY_TYPES:
            raise Unauthenticated("The token's algorithm is not accepted; RS256 and ES256 are.")
        if not isinstance(kid, str | None) or "crit" in header:
            raise Unauthenticated("The token's header is not accepted.")
        key = self._keys.find(kid)
        if key is None or key.algorithm_name != algorithm:
            raise Unauthenticated("The token was not signed by a known key of the issuer.")
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                issuer=self._settings.issuer,
                leeway=CLOCK_SKEW,
                options={"require": ["exp", "iat", "iss", "sub"], "verify_aud": False},
            )
            claims["exp"] = float(claims["exp"])
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("The token has expired; sign in again.") from None
        except jwt.InvalidIssuerError:
            raise Unauthenticated("The token is from another issuer.") from None
        except (jwt.PyJWTError, OverflowError):
            raise Unauthenticated("The token is not valid.") from None
        self._check_audience(claims)
        return claims

    def _check_audience(self, claims: dict[str, Any]) -> None:
        """The token must have been issued for our client.

        Cognito says in `token_use` what a token is; its access tokens have no `aud` but a `client_id`.
        Everyone else's token must name us in `aud`, and in `azp` when there are several audiences
        (OpenID Connect Core 1.0, 3.1.3.7).
        """
        client = self._client()
        use, audience = claims.get("token_use"), claims.get("aud")
        if use == "access":
            fits = claims.get("client_id") == client
        elif use is None or use == "id":
            names = audience if isinstance(audience, list) else [audience]
            fits = client in names and (len(names) == 1 or claims.get("azp", client) == client)
        else:
            fits = False
        if not fits:
            raise Unauthenticated("The token was issued for another application.")

    def _client(self) -> str:
        if not self._client_id:
            try:
                self._client_id = self._parameters(self._settings.client_id_parameter)
            except Exception as error:  # boto3's many; whichever it is, the next attempt may succeed
                raise Unavailable("The sign-in settings cannot be read.", retry_after=5) from error
        return self._client_id

    def _principal(self, claims: dict[str, Any]) -> Principal:
        user = next(
            (
                value
                for name in ("cognito:username", "username", "sub")
                if isinstance(value := claims.get(name), str) and value
            ),
            None,
        )
        if user is None:
            raise Unauthenticated("The token names no user.")
        groups = groups_of(claims, self._settings.groups_claim)
        return self._speaker(user, groups, claims["exp"])

    def _speaker(self, user: str, groups: frozenset[str], expires_at: float, token_id: str = "") -> Principal:
        """What their groups make of somebody, however they have been recognised."""
        is_admin = self._settings.admin_group in groups
        if self._settings.user_group and self._settings.user_group not in groups and not is_admin:
            raise Forbidden(f"You need to be in the group {self._settings.user_group} to use this service.")
        return Principal(
            user=user,
            groups=groups,
            is_admin=is_admin,
            expires_at=expires_at,
            is_rag_admin=self._settings.rag_admin_group in groups,
            token_id=token_id,
        )


def _header(token: str) -> dict[str, Any]:
    """Only to choose the key; PyJWT decodes and checks all of it again. (Its own reader decodes the whole token.)"""
    try:
        header = json.loads(base64url_decode(token.partition(".")[0]))
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise Unauthenticated("The token is not a JSON Web Token.")
    return header


def groups_of(claims: dict[str, Any], path: str) -> frozenset[str]:
    """The groups at a dotted path (`realm_access.roles`), or under a claim of exactly that name."""
    value: Any = claims
    if path in claims:
        value = claims[path]
    else:
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        return frozenset()
    return frozenset(group for group in value if isinstance(group, str) and group)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
