"""The caller, as the authorizer hands it to the functions behind the API."""

import json
from collections.abc import Mapping
from typing import Any

from lisa.errors import Unauthenticated
from lisa.identity.principal import Principal


def to_context(principal: Principal) -> dict[str, str]:
    """What the authorizer answers beside its policy; API Gateway passes strings only."""
    return {
        "user": principal.user,
        "groups": json.dumps(sorted(principal.groups)),
        "isAdmin": _word(principal.is_admin),
        "isRagAdmin": _word(principal.is_rag_admin),
        "tokenId": principal.token_id,
        "expiresAt": str(int(principal.expires_at)),
    }


def from_context(context: Mapping[str, Any]) -> Principal:
    """Raises Unauthenticated when no authorizer has spoken: then the route was left open by mistake."""
    if not context.get("user"):
        raise Unauthenticated("No token was sent. Send `Authorization: Bearer <token>`.")
    return Principal(
        user=str(context["user"]),
        groups=frozenset(json.loads(context.get("groups") or "[]")),
        is_admin=_is_true(context.get("isAdmin")),
        expires_at=float(context.get("expiresAt") or 0),
        is_rag_admin=_is_true(context.get("isRagAdmin")),
        token_id=str(context.get("tokenId") or ""),
    )


def _word(value: bool) -> str:
    return "true" if value else "false"


def _is_true(word: object) -> bool:
    return str(word).lower() == "true"
