"""How the gateway calls functions of retrieval, and how they answer: without API Gateway between them.

A call is `{"principal": {...}, ...}`; an answer `{"status": 200, "body": ...}`, or `{"status": 404, "error": {...}}`
with `message`, `code` and maybe `field` and `retryAfter`. Whoever may invoke the function vouches for the principal.
"""

from collections.abc import Mapping
from typing import Any

from lisa.errors import LisaError
from lisa.identity.principal import Principal


def principal_document(principal: Principal) -> dict[str, Any]:
    return {
        "user": principal.user,
        "groups": sorted(principal.groups),
        "isAdmin": principal.is_admin,
        "isRagAdmin": principal.is_rag_admin,
        "tokenId": principal.token_id,
    }


def principal_of(document: Mapping[str, Any]) -> Principal:
    return Principal(
        user=str(document["user"]),
        groups=frozenset(map(str, document["groups"])),
        is_admin=document["isAdmin"] is True,
        expires_at=0,
        is_rag_admin=document.get("isRagAdmin") is True,
        token_id=str(document.get("tokenId", "")),
    )


def refusal(error: LisaError) -> dict[str, Any]:
    """What a function answers in the place of a body."""
    detail: dict[str, Any] = {"message": error.message, "code": error.code}
    if error.field is not None:
        detail["field"] = error.field
    if error.retry_after is not None:
        detail["retryAfter"] = error.retry_after
    return {"status": error.status, "error": detail}


def error_of(answer: Mapping[str, Any]) -> LisaError | None:
    """The error that a function answered; None when it answered a body."""
    error = answer.get("error")
    if error is None:
        return None
    return LisaError(
        str(error["message"]),
        code=str(error["code"]),
        status=int(answer["status"]),
        field=error.get("field"),
        retry_after=error.get("retryAfter"),
    )
