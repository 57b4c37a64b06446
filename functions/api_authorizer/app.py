"""Who is calling the REST API? API Gateway keeps the answer for a while, so it covers the whole API."""

from typing import Any

from lisa.api.authorizer import allow, deny
from lisa.errors import LisaError
from lisa.identity.settings import IdentitySettings
from lisa.identity.tokens import TokenVerifier, bearer_token
from lisa.observability import logger, traced

verifier = TokenVerifier.from_settings(IdentitySettings.from_environment())


@traced
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    request_id = event.get("requestContext", {}).get("requestId")
    try:
        principal = verifier.verify(bearer_token(headers.get("authorization") or ""))
        if verifier.api_tokens is not None:
            verifier.api_tokens.used.flush()  # at most one write an hour and token; afterwards we may be frozen
    except LisaError as error:
        logger.info("refused", extra={"requestId": request_id, "reason": error.message})
        if error.status >= 500:
            raise
        if error.status == 403:
            return deny(event["methodArn"])
        # The one message that API Gateway answers with 401; every other becomes a 500.
        raise Exception("Unauthorized") from None  # noqa: TRY002
    logger.info("admitted", extra={"requestId": request_id, "user": principal.user})
    return allow(principal, event["methodArn"])
