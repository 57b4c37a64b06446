"""The answer of the REST API's authorizer."""

from fnmatch import fnmatchcase
from typing import Any

from lisa.api.caller import to_context
from lisa.audit.calls import READS
from lisa.identity.policy import RULES, Rule, Who, admitted
from lisa.identity.principal import Principal


def allow(principal: Principal, method_arn: str) -> dict[str, Any]:
    """A policy for the whole API, since API Gateway keeps it for the caller's next call: every route that the
    caller's kind may use, and every write. A write that they may not do is refused by its function, by the same
    table (lisa.api.resolver), because a refusal by API Gateway would be in no audit log.

    `method_arn` is `arn:...:<api>/<stage>/<method>/<path>`. What is not named is denied.
    """
    api_and_stage = "/".join(method_arn.split("/")[:2])
    # Public routes have no authorizer, and the one for paths that do not exist would cover all the others.
    kinds = admitted(principal) - {Who.PUBLIC}
    routes = [rule for rule in RULES if rule.door == "api" and (rule.who in kinds or _is_write(rule))]
    allowed = {f"{rule.method}{_wildcards(rule.path)}" for rule in routes}
    # A path for admins may be one that a wildcard for everybody covers: `/users/all` beside `/users/{userId}`.
    others = [
        rule
        for rule in RULES
        if rule.door == "api" and rule.who not in kinds | {Who.PUBLIC} and not _is_write(rule)
    ]
    denied = {
        place
        for rule in others
        if any(fnmatchcase(place := f"{rule.method}{_wildcards(rule.path)}", wide) for wide in allowed)
    }
    statements = [
        {
            "Action": "execute-api:Invoke",
            "Effect": effect,
            "Resource": [f"{api_and_stage}/{place}" for place in sorted(places)],
        }
        for effect, places in (("Allow", allowed), ("Deny", denied))
        if places
    ]
    return {
        "principalId": principal.user,
        "policyDocument": {"Version": "2012-10-17", "Statement": statements},
        "context": to_context(principal),
    }


def deny(method_arn: str) -> dict[str, Any]:
    """For somebody who is signed in and may not use this deployment at all: API Gateway answers 403."""
    api_and_stage = "/".join(method_arn.split("/")[:2])
    statement = {"Action": "execute-api:Invoke", "Effect": "Deny", "Resource": [f"{api_and_stage}/*"]}
    return {
        "principalId": "denied",
        "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
        "context": {},
    }


def _is_write(rule: Rule) -> bool:
    return rule.who is not Who.PUBLIC and rule.method not in READS


def _wildcards(path: str) -> str:
    return "/".join("*" if part.startswith("{") else part for part in path.split("/"))
