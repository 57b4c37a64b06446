"""The key by which our own functions call the gateway's embeddings and rerank routes, and nothing else.

Its secret is made by CloudFormation and lies in Secrets Manager; no person is given it.
"""

import hmac
from dataclasses import dataclass

from lisa.identity.principal import Principal

PREFIX = "lisa-service-"
USER = "lisa-retrieval"
"""Under this name its requests are limited and written down."""


def service_key(secret: str) -> str:
    """What is sent as `Authorization: Bearer <key>`, for the secret's value."""
    return PREFIX + secret


def is_service_key(token: str) -> bool:
    """Whether it claims to be one; neither a JSON Web Token nor an API token ever does."""
    return token.startswith(PREFIX)


def is_same_key(token: str, secret: str) -> bool:
    """In constant time; an empty secret is nobody's."""
    return bool(secret) and hmac.compare_digest(token.encode(), service_key(secret).encode())


@dataclass(frozen=True, slots=True)
class ServicePrincipal(Principal):
    """Retrieval itself: it embeds for everybody, so every model is visible to it. It is no administrator."""

    def may_use(self, allowed_groups: frozenset[str] | tuple[str, ...] | list[str]) -> bool:
        return True


SERVICE = ServicePrincipal(user=USER, groups=frozenset(), is_admin=False, expires_at=float("inf"))
