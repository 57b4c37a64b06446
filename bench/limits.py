"""What do limits cost a request, beside the bare look-up of a dictionary in the same run?

  PYTHONPATH=containers/litellm:layers/lisa .venvs/gateway/bin/python bench/limits.py

CPU time of the event loop's thread for `admit` and `settle` together, counters in memory: without a limit, with one on
requests, and with limits and budgets on the user, a group and the model (9 counters). Exits 1 above the target.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from lisa.identity import Principal
from lisa.limits.counters import Totals
from lisa.limits.prices import Price
from lisa.limits.record import Limit
from lisa.limits.windows import Window
from lisa_gateway.limits import Limits

TARGET_MS = 0.05
CALLS, REPEATS = 100_000, 5
MOST = 10**12
EVERYTHING = {
    "requestsPerMinute": MOST, "tokensPerMinute": MOST, "tokensPerDay": MOST, "tokensPerMonth": MOST,
    "costPerDay": MOST, "costPerMonth": MOST,
}  # fmt: skip


class Memory:
    """Stands in for both sides of the limits table; never refuses."""

    def __init__(self, limits: list[Limit], prices: list[Price]) -> None:
        self._all = limits, prices
        self._totals: dict[tuple[str, Window, int], Totals] = {}

    def version(self) -> int:
        return 1

    def everything(self) -> tuple[int, list[Limit], list[Price]]:
        return 1, *self._all

    def add(
        self,
        subject: str,
        window: Window,
        start: int,
        end: int,
        *,
        requests: int = 0,
        tokens: int = 0,
        cost: int = 0,
    ) -> Totals:
        key = subject, window, start
        old = self._totals.get(key, Totals())
        self._totals[key] = Totals(old.requests + requests, old.tokens + tokens, old.cost + cost)
        return self._totals[key]

    def lease(
        self, subject: str, window: Window, start: int, end: int, *, wanted: int, share: int, limit: int
    ) -> tuple[int, int]:
        block = max(wanted, limit // share)
        return block, self.add(subject, window, start, end, requests=block).requests

    def alert(self, key: str, detail: Mapping[str, str | int], *, expires: int) -> bool:
        return True


def subjects(amounts: dict[str, int], *kinds: str) -> list[Limit]:
    names = {"user": "alice", "group": "team-a", "model": "gpt-4o-mini"}
    return [Limit(kind, names[kind], amounts) for kind in kinds]  # type: ignore[arg-type]


def exchange() -> Any:
    return SimpleNamespace(extra_headers=b"", admitted=(), usage=(7, 3), cost=0, model="gpt-4o-mini")


def best(work: Callable[[], None]) -> float:
    """Milliseconds of CPU a call, the best of the repeats."""
    found = []
    for _ in range(REPEATS):
        before = time.thread_time()
        for _ in range(CALLS):
            work()
        found.append((time.thread_time() - before) * 1000 / CALLS)
    return min(found)


async def measure(limits: list[Limit]) -> float:
    memory = Memory(limits, [Price("gpt-4o-mini", 150_000, 600_000)])
    start = time.time()
    # The clock is read, and stands still: no minute ends while the event loop is kept busy.
    service = Limits(lambda: (memory, memory), clock=lambda: start + 0 * time.time())
    service.start()
    while not service.loaded:  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(0.01)
    principal = Principal(user="alice", groups=frozenset({"user", "team-a"}), is_admin=False, expires_at=0)
    first = service.admit(exchange(), principal, "gpt-4o-mini")
    if first is not None:  # the first request waits for its leases
        await service.wait(exchange(), principal, "gpt-4o-mini", first)

    def request() -> None:
        one = exchange()
        if service.admit(one, principal, "gpt-4o-mini") is not None:
            raise SystemExit("a request had to wait: not what is measured here")
        service.settle(one)

    bare = best(lambda: exchange() and None)
    taken = best(request) - bare
    await service.close()
    return taken


def main() -> None:
    table = {("alice", "", frozenset({"user"}), "m"): 1}
    look_up = best(lambda: table.get(("alice", "", frozenset({"user"}), "m")) and None)
    print(f"bare look-up of a dictionary: {look_up * 1000:.2f} us")
    worst = 0.0
    for name, limits in (
        ("no limit applies", []),
        ("requests a minute of the user", subjects({"requestsPerMinute": MOST}, "user")),
        ("all limits of user, group and model", subjects(EVERYTHING, "user", "group", "model")),
    ):
        taken = asyncio.run(measure(limits))
        worst = max(worst, taken)
        print(f"{name}: {taken * 1000:.2f} us ({taken / look_up:.1f} look-ups)")
    print(f"target {TARGET_MS} ms: {'met' if worst <= TARGET_MS else 'MISSED'}")
    sys.exit(worst > TARGET_MS)


if __name__ == "__main__":
    main()
