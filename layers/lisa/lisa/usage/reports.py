"""Who may see which usage, and what is made of the totals."""

import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from lisa.errors import InvalidRequest, NotFound
from lisa.identity.principal import Principal
from lisa.usage.message import Counters, Dimension
from lisa.usage.schema import AllMetrics, GroupBy, Report, Used, UsedRow, UserMetrics
from lisa.usage.store import Granularity, Total, UsageStore

DEFAULT_DAYS = 30
MAX_DAYS: dict[Granularity, int] = {"hour": 31, "day": 400}
MAX_ROWS = 10_000  # some 4 MB of JSON; a function may answer 6


@dataclass(frozen=True, slots=True)
class Asked:
    """The days, both included, as `2026-11-27`; None for the last 30 days."""

    first_day: str | None = None
    last_day: str | None = None
    granularity: Granularity = "day"
    group_by: GroupBy = "model"


class UsageReports:
    def __init__(self, store: UsageStore, *, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock

    def of_user(self, caller: Principal, user: str, asked: Asked) -> UserMetrics:
        """Raises NotFound for somebody else's. Who has never called a model has used nothing, known or not."""
        if user != caller.user and not caller.is_admin:
            raise _no_such_user(user)
        if asked.group_by in ("user", "group"):
            raise InvalidRequest(
                "groupBy: one user's usage is grouped by model, token or day.", field="groupBy"
            )
        total = self._store.user(user)
        if total is None:
            return UserMetrics(total_prompts=0, usage=self._report(user, asked))
        used = total.counters
        return UserMetrics(
            total_prompts=_prompts(used),
            user_groups=list(total.groups),
            first_seen=_iso(total.first_at),
            last_seen=_iso(total.last_at),
            prompt_tokens=used.prompt_tokens,
            completion_tokens=used.completion_tokens,
            cost=used.cost / 1e6,
            usage=self._report(user, asked),
        )

    def of_all(self, asked: Asked) -> AllMetrics:
        ever, users = Counters(), 0
        groups: Counter[str] = Counter()
        for user in self._store.users():
            users += 1
            ever.add(user.counters)
            groups.update(user.groups)
        return AllMetrics(
            total_unique_users=users,
            total_prompts=_prompts(ever),
            user_groups=dict(sorted(groups.items())),
            prompt_tokens=ever.prompt_tokens,
            completion_tokens=ever.completion_tokens,
            cost=ever.cost / 1e6,
            usage=self._report(None, asked),
        )

    def _report(self, of: str | None, asked: Asked) -> Report:
        first_day, last_day = self._days(asked)
        by: Dimension = "model" if asked.group_by == "day" else asked.group_by
        found = self._store.totals(of, by, asked.granularity, first_day.isoformat(), last_day.isoformat())
        if asked.group_by == "day":
            found = _without_values(found)
        rows, sums = _rows(found)
        if asked.group_by == "group":
            # Each of a caller's groups is given the whole of a request: their sum would count some twice.
            _, sums = _rows(
                self._store.totals(
                    of, "model", asked.granularity, first_day.isoformat(), last_day.isoformat()
                )
            )
        return Report(
            first_day=first_day.isoformat(),
            last_day=last_day.isoformat(),
            granularity=asked.granularity,
            group_by=asked.group_by,
            totals=Used(**_used(sums)),
            rows=rows,
        )

    def _days(self, asked: Asked) -> tuple[date, date]:
        today = datetime.fromtimestamp(self._clock(), UTC).date()
        last = _day("to", asked.last_day) or today
        first = _day("from", asked.first_day) or last - timedelta(days=DEFAULT_DAYS - 1)
        if first > last:
            raise InvalidRequest("from: the first day comes after the last (`to`).", field="from")
        most = MAX_DAYS[asked.granularity]
        if (last - first).days >= most:
            raise InvalidRequest(
                f"from: {most} days at most can be asked for by {asked.granularity}; ask for fewer.",
                field="from",
            )
        return first, last


def _day(field: str, text: str | None) -> date | None:
    if not text:
        return None
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
            day = date.fromisoformat(text)
            if day.year >= 2000:
                return day
    except ValueError:
        pass
    raise InvalidRequest(f"{field}: give a day of this century as 2026-11-27.", field=field)


def _rows(totals: Iterable[Total]) -> tuple[list[UsedRow], Counters]:
    sums = Counters()
    rows: list[UsedRow] = []
    for total in totals:
        if len(rows) >= MAX_ROWS:
            raise InvalidRequest(
                f"from: that is over {MAX_ROWS} rows; ask for fewer days, or group by day.", field="from"
            )
        sums.add(total.counters)
        rows.append(UsedRow(period=total.period, value=total.value, **_used(total.counters)))
    rows.sort(key=lambda row: (row.period, row.value))
    return rows, sums


def _without_values(totals: Iterable[Total]) -> Iterator[Total]:
    periods: defaultdict[str, Counters] = defaultdict(Counters)
    for total in totals:
        periods[total.period].add(total.counters)
    for period, counters in periods.items():
        yield Total("", period, counters, 0, 0)


def _used(counters: Counters) -> dict[str, Any]:
    return {
        "requests": counters.requests,
        "succeeded": counters.succeeded,
        "refused": counters.refused,
        "failed": counters.failed,
        "left": counters.left,
        "prompt_tokens": counters.prompt_tokens,
        "completion_tokens": counters.completion_tokens,
        "estimated": counters.estimated,
        "cost": counters.cost / 1e6,
        "latency_ms": round(counters.latency_ms / counters.requests, 1) if counters.requests else 0,
        "first_token_ms": round(counters.first_token_ms / counters.streams, 1) if counters.streams else None,
    }


def _prompts(counters: Counters) -> int:
    return counters.succeeded + counters.left


def _iso(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


def _no_such_user(user: str) -> NotFound:
    return NotFound(f"There is no usage of a user {user[:200]!r} that you may see.")
