"""The caller, once their token has been verified."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling. `expires_at` is the token's own expiry, in epoch seconds.

    `token_id` names the API token that speaks for them; it is empty when they have signed in themselves.
    """

    user: str
    groups: frozenset[str]
    is_admin: bool
    expires_at: float
    is_rag_admin: bool = False
    token_id: str = ""

    def may_use(self, allowed_groups: frozenset[str] | tuple[str, ...] | list[str]) -> bool:
        """Whether something with these groups is visible: no groups mean everyone, and admins see all."""
        return not allowed_groups or self.is_admin or not self.groups.isdisjoint(allowed_groups)
