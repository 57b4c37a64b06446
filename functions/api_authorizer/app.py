"""Who is calling the REST API? API Gateway keeps the answer for a while, so it covers the whole API."""

from typing import Any

from lisa import aws
from lisa.api.authorizer import allow, deny
from lisa.audit.calls import origin_of
from lisa.audit.log import publisher
from lisa.audit.signins import SignIns
from lisa.errors import LisaError
from lisa.identity.settings import IdentitySettings
from lisa.identity.tokens import TokenVerifier, bearer_token
from lisa.observability import logger, traced
from lisa.settings import Settings

verifier = TokenVerifier.from_settings(IdentitySettings.from_environment())
bus = publisher(Settings.from_environment().event_bus, aws.audit_bus)
sign_ins = SignIns(lambda event: bus.publish([event]))


@traced
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    request_id = event.get("requestContext", {}).get("requestId")
    given = headers.get("authorization") or ""
    try:
        token = bearer_token(given)
        principal = verifier.verify(token)
        if verifier.api_tokens is not None:
            verifier.api_tokens.used.flush()  # at most one write an hour and token; afterwards we may be frozen
    except LisaError as error:
        if given:
            sign_ins.refused(error, origin_of(event))
        logger.info("refused", extra={"requestId": request_id, "reason": error.message})
        if error.status >= 500:
            raise
        if error.status == 403:
            return deny(event["methodArn"])
        # The one message that API Gateway answers with 401; every other becomes a 500.
        raise Exception("Unauthorized") from None  # noqa: TRY002
    logger.info("admitted", extra={"requestId": request_id, "user": principal.user})
    sign_ins.accepted(token, principal, origin_of(event))
    return allow(principal, event["methodArn"])
