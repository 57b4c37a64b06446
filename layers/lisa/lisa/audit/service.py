"""What administrators ask of the audit log."""

import base64
import hashlib
import json
import re
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

from lisa.audit.event import SIGN_IN, iso
from lisa.audit.schema import AuditAnswer, AuditRecord
from lisa.audit.store import BY_ACTION, BY_DAY, BY_USER, AuditStore, position_of
from lisa.errors import InvalidRequest

DEFAULT_PAGE, MAX_PAGE = 50, 100
MAX_QUERIES = 60  # of the table for one page, so that an answer takes well under API Gateway's time
_ACTION = re.compile(r"(?:POST|PUT|PATCH|DELETE) /\S{1,200}")
_POSITION = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z#[0-9a-f-]{36}")


class AuditLog:
    """`retention_days` says how far back it is worth looking."""

    def __init__(
        self, store: AuditStore, *, retention_days: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._retention = retention_days
        self._clock = clock

    def find(
        self,
        *,
        first: str | None = None,
        last: str | None = None,
        user: str | None = None,
        action: str | None = None,
        page_size: int | None = None,
        token: str | None = None,
    ) -> AuditAnswer:
        """The newest events first, from `first` until before `last`.

        Raises InvalidRequest naming the parameter that is wrong. A page may be short, even empty, and yet have a
        token: few events in many days are sought in several calls.
        """
        now = self._clock()
        begin = _moment("from", first) or datetime.fromtimestamp(now, UTC) - timedelta(days=self._retention)
        end = _moment("to", last) or datetime.fromtimestamp(now + 1, UTC)
        if begin >= end:
            raise InvalidRequest("from: it must lie before `to`.", field="from")
        if user is not None and not 0 < len(user) <= 200:
            raise InvalidRequest("user: give a user's name of 1 to 200 characters.", field="user")
        if action is not None and action != SIGN_IN and not _ACTION.fullmatch(action):
            raise InvalidRequest(
                "route: give a method and a route, as `DELETE /api/models/{modelId}`, or `sign-in`.",
                field="route",
            )
        limit = DEFAULT_PAGE if page_size is None else page_size
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidRequest(f"pageSize: give 1 to {MAX_PAGE}.", field="pageSize")
        # Only the position comes from the token. What is asked for comes from the call, and must be the same.
        fingerprint = _fingerprint(first, last, user, action)
        texts = iso(begin.timestamp()), iso(end.timestamp())
        after = _position(token, fingerprint, *texts) if token is not None else None
        if user is not None or action is not None:
            found, at = self._along_index(user, action, texts, limit, after)
        else:
            found, at = self._along_days(texts, limit, after)
        return AuditAnswer(events=found, next_token=_token(at, fingerprint) if at else None)

    def _along_index(
        self, user: str | None, action: str | None, texts: tuple[str, str], limit: int, after: str | None
    ) -> tuple[list[AuditRecord], str | None]:
        index, value = (BY_USER, user) if user is not None else (BY_ACTION, action)
        found: list[AuditRecord] = []
        for _ in range(MAX_QUERIES):
            page, after = self._store.query(
                index,
                value or "",
                first=texts[0],
                last=texts[1],
                limit=limit - len(found),
                after=after,
                action=action if user is not None else None,
            )
            found += page
            if after is None or len(found) >= limit:
                break
        return found, after

    def _along_days(
        self, texts: tuple[str, str], limit: int, after: str | None
    ) -> tuple[list[AuditRecord], str | None]:
        found: list[AuditRecord] = []
        oldest = date.fromisoformat(texts[0][:10])
        day = date.fromisoformat((after or texts[1])[:10])
        for _ in range(MAX_QUERIES):
            page, after = self._store.query(
                BY_DAY, day.isoformat(), first=texts[0], last=texts[1], limit=limit - len(found), after=after
            )
            found += page
            if len(found) >= limit:
                return found, position_of(found[-1]) if after or day > oldest else None
            if after is None:
                if day <= oldest:
                    return found, None
                day -= timedelta(days=1)
        return found, after or f"{day.isoformat()}T23:59:59.999Z#ffffffff-ffff-ffff-ffff-ffffffffffff"


def _moment(name: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or not 1970 <= found.year < 9999:
        raise InvalidRequest(
            f"{name}: give a time as 2026-11-27T08:00:00Z, or a day as 2026-11-27.", field=name
        )
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _fingerprint(*parts: str | None) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _token(position: str, fingerprint: str) -> str:
    return base64.urlsafe_b64encode(f"{fingerprint}{position}".encode()).decode()


def _position(token: str, fingerprint: str, first: str, last: str) -> str:
    try:
        text = base64.b64decode(token, altchars=b"-_", validate=True).decode("ascii")
    except ValueError:
        text = ""
    position = text[len(fingerprint) :]
    if not text.startswith(fingerprint) or not _POSITION.fullmatch(position) or not first <= position < last:
        raise InvalidRequest(
            "nextToken: send the token of the page before, with the same query.", field="nextToken"
        )
    return position
