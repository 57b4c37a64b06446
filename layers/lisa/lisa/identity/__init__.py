"""Who is calling, and what they may do: one verifier and one policy for functions and the gateway."""

from lisa.identity.policy import RULES, Rule, Who, authorize, rule_for
from lisa.identity.principal import Principal
from lisa.identity.settings import IdentitySettings
from lisa.identity.tokens import TokenVerifier, bearer_token

__all__ = [
    "RULES",
    "IdentitySettings",
    "Principal",
    "Rule",
    "TokenVerifier",
    "Who",
    "authorize",
    "bearer_token",
    "rule_for",
]
