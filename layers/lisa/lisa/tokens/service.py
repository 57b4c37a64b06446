"""What people may do with API tokens."""

import hashlib
import re
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lisa.errors import Conflict, Forbidden, InvalidRequest, NotFound, Unauthenticated
from lisa.identity.principal import Principal
from lisa.paging import check_size, key_of, next_token
from lisa.tokens.format import new_token
from lisa.tokens.record import ApiToken
from lisa.tokens.schema import CreatedToken, CreateToken, RevokedToken, TokenInfo, created, info
from lisa.tokens.store import TokenStore

DAY = 86_400
DEFAULT_DAYS = 90
MAX_TOKENS = 100  # of one user, so that nobody fills the table
MAX_ANCESTORS = 4  # each costs a read when the token is checked

_UUID = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
# Whatever issuers name people, but for what an address would read otherwise.
_USERNAME = re.compile(r"^[^\s%/?#\x00-\x1f\x7f]{1,128}$")


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What the operator has settled. Without `creator_group` everybody may make tokens for themselves."""

    max_days: int = 365
    creator_group: str = ""
    admin_group: str = "admin"
    user_group: str = ""


class TokenService:
    def __init__(
        self, rules: TokenRules, store: TokenStore, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._rules = rules
        self._store = store
        self._clock = clock

    def create_own(self, principal: Principal, request: CreateToken) -> CreatedToken:
        """A token that speaks for its creator, with the creator's groups or fewer.

        Raises Forbidden when the caller may not make tokens, InvalidRequest naming the field, Conflict when the name
        is taken.
        """
        wanted = self._rules.creator_group
        if wanted and wanted not in principal.groups and not principal.is_admin:
            raise Forbidden(f"You need to be in the group {wanted} to create API tokens.")
        if request.is_system_token:
            raise InvalidRequest(
                "A system token is made by an administrator, by POST /api/api-tokens/{username}.",
                field="isSystemToken",
            )
        groups = principal.groups if request.groups is None else frozenset(request.groups)
        _within(groups, principal.groups)
        return self._create(principal, principal.user, groups, request)

    def create_for(self, principal: Principal, user: str, request: CreateToken) -> CreatedToken:
        """An administrator's gift to somebody, or to a program; with the groups that the administrator gives it.

        Raises as `create_own` does. The policy has let in administrators alone.
        """
        if not _USERNAME.match(user):
            raise InvalidRequest(
                "The user name is empty, too long or holds characters that none has.", field="username"
            )
        return self._create(principal, user, frozenset(request.groups or ()), request)

    def visible(
        self, principal: Principal, *, page_size: int | None = None, token: str | None = None
    ) -> tuple[list[TokenInfo], str | None]:
        """The caller's own tokens, everybody's for administrators; and the next page's token.

        Raises InvalidRequest for a size outside 1-100 or a token that none of our pages gave.
        """
        check_size(page_size)
        after = key_of(token)
        if principal.is_admin:
            found, last = self._store.page(limit=page_size, after=after)
        else:
            found, last = self._store.page_of(principal.user, limit=page_size, after=after)
        return self._infos(found), next_token(last)

    def get(self, principal: Principal, token_uuid: str) -> TokenInfo:
        """Raises NotFound also for a token that is somebody else's."""
        return self._infos([self._find(principal, token_uuid)])[0]

    def revoke(self, principal: Principal, token_uuid: str) -> RevokedToken:
        """Ends a token, and with it every token that it has made. Raises NotFound as `get` does."""
        token = self._find(principal, token_uuid)
        self._store.delete(token)
        return RevokedToken(
            message="The token is revoked. It stops working everywhere within a minute.",
            token_uuid=token.uuid,
        )

    def _create(
        self, principal: Principal, user: str, groups: frozenset[str], request: CreateToken
    ) -> CreatedToken:
        now = int(self._clock())
        self._usable(groups)
        maker = self._maker(principal)
        if self._store.count_of(user) >= MAX_TOKENS:
            raise Conflict(
                f"{user} has {MAX_TOKENS} tokens, which is the most: revoke one that is not needed.",
                code="too_many_tokens",
            )
        secret = new_token()
        token = ApiToken(
            digest=hashlib.sha256(secret.encode()).hexdigest(),
            uuid=str(uuid.uuid4()),
            name=request.name,
            user=user,
            groups=tuple(sorted(groups)),
            is_system=request.is_system_token,
            created_at=now,
            created_by=principal.user,
            expires_at=self._expiry(request.token_expiration, now, maker),
            ancestors=(*maker.ancestors, maker.digest) if maker else (),
        )
        self._store.create(token)
        return created(token, secret)

    def _usable(self, groups: frozenset[str]) -> None:
        needed = self._rules.user_group
        if needed and needed not in groups and self._rules.admin_group not in groups:
            raise InvalidRequest(
                f"Without the group {needed} the token could not be used: add it.", field="groups"
            )

    def _maker(self, principal: Principal) -> ApiToken | None:
        """The token that asks for a token, as it is now: the authorizer's word may be half a minute old."""
        if not principal.token_id:
            return None
        maker = self._store.by_uuid(principal.token_id)
        if maker is None:
            raise Unauthenticated("The API token has been revoked.")
        if len(maker.ancestors) >= MAX_ANCESTORS:
            raise InvalidRequest(
                "This token was made by a token that was made by a token, and so on, too often: sign in to make one."
            )
        return maker

    def _expiry(self, wanted: int | None, now: int, maker: ApiToken | None) -> int:
        latest = now + self._rules.max_days * DAY
        why = f"tokens are good for {self._rules.max_days} days at most"
        if maker is not None and maker.expires_at < latest:
            latest, why = maker.expires_at, "a token does not outlive the one that made it"
        if wanted is None:
            return min(now + DEFAULT_DAYS * DAY, latest)
        if wanted <= now:
            raise InvalidRequest(
                "tokenExpiration is in the past: give a later time, in seconds since the epoch.",
                field="tokenExpiration",
            )
        if wanted > latest:
            raise InvalidRequest(
                f"tokenExpiration is too late: {why}. The latest is {latest}.", field="tokenExpiration"
            )
        return wanted

    def _find(self, principal: Principal, token_uuid: str) -> ApiToken:
        token = self._store.by_uuid(token_uuid) if _UUID.match(token_uuid) else None
        if token is None or not (principal.is_admin or token.user == principal.user):
            raise NotFound("There is no such token.", code="token_not_found")
        return token

    def _infos(self, tokens: Iterable[ApiToken]) -> list[TokenInfo]:
        tokens = list(tokens)
        used = self._store.used(token.uuid for token in tokens)
        now = self._clock()
        return [info(token, now=now, last_used=used.get(token.uuid)) for token in tokens]


def _within(groups: frozenset[str], allowed: frozenset[str]) -> None:
    wider = sorted(groups - allowed)
    if wider:
        raise InvalidRequest(
            f"You are not in {', '.join(wider)}: a token cannot have more groups than its creator.",
            field="groups",
        )
