"""Sign-ins. Issuers tell us of none, so one is the first time that a token is accepted at one of our doors."""

import hashlib
import time
from collections.abc import Callable

from lisa.audit.event import SIGN_IN, AuditEvent, Origin, id_of, iso, outcome_of
from lisa.errors import LisaError
from lisa.identity.principal import Principal

SEEN = 10_000
REFUSALS_A_MINUTE = 20


class SignIns:
    """What one process has seen. To be used by one thread.

    An event's id is made of what it tells (the token's hash; an API token's id and the day; a refusal's door,
    address, reason and minute), and the table takes an id once: one token gives one event however many
    processes see it. A process tells of at most REFUSALS_A_MINUTE refusals a minute, so that nobody can flood
    the table.
    """

    def __init__(
        self, publish: Callable[[AuditEvent], None], *, clock: Callable[[], float] = time.time
    ) -> None:
        self._publish = publish
        self._clock = clock
        self._seen: dict[str, None] = {}
        self._minute = 0
        self._refused: set[str] = set()

    def accepted(self, token: str, principal: Principal, origin: Origin) -> None:
        now = self._clock()
        if principal.token_id:
            event_id = id_of("api-token", principal.token_id, iso(now)[:10])
        else:
            event_id = id_of("sign-in", hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest())
        if event_id in self._seen:
            return
        if len(self._seen) >= SEEN:
            del self._seen[next(iter(self._seen))]
        self._seen[event_id] = None
        self._publish(AuditEvent(event_id, now, SIGN_IN, "success", origin, principal))

    def refused(self, error: LisaError, origin: Origin) -> None:
        """A token that was refused. That it could not be checked is no verdict on it, and is not told."""
        if error.status >= 500:
            return
        now = self._clock()
        minute = int(now // 60)
        if minute != self._minute:
            self._minute, self._refused = minute, set()
        event_id = id_of("refused", origin.door, origin.source_ip, error.message, str(minute))
        if event_id in self._refused or len(self._refused) >= REFUSALS_A_MINUTE:
            return
        self._refused.add(event_id)
        self._publish(
            AuditEvent(
                event_id,
                now,
                SIGN_IN,
                outcome_of(error.status),
                origin,
                status=error.status,
                error=error.message,
            )
        )
