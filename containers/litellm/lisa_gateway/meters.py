"""What one gateway knows of one window of one subject: how much is left, and what is still to be handed over."""

import asyncio
from collections.abc import Iterator

from lisa.limits.counters import Totals
from lisa.limits.record import AMOUNTS, Amount, Limit, SubjectType
from lisa.limits.windows import Window

FRESH_SECONDS = 2.0  # how old the totals may be that a request goes by

Change = tuple[int, int, int, int, int]  # the window's start and end; requests, tokens, cost to add
_UNLIMITED = 1 << 62


class Meter:
    """Used in the event loop's thread only. A maximum of 0 stands for none."""

    SHARE = 8  # the part of what is left of a window that one gateway leases at a time

    def __init__(
        self, kind: SubjectType, name: str, subject: str, window: Window, now: int, limit: Limit
    ) -> None:
        self.kind, self.name, self.subject, self.window = kind, name, subject, window
        self.is_budget = window is not Window.MINUTE
        self.start, self.end = window.bounds(now)
        # Used by everybody, as far as this gateway knows, with its own part that is not handed over yet.
        self.tokens = self.cost = 0
        self._unsent_tokens = self._unsent_cost = 0
        # Requests: gone of the limit for the fleet; leased and unused here; admitted here; admitted without a lease.
        self.gone = self.granted = self.admitted = self.debt = 0
        self.low = -1
        self.wanted = 0
        self.exhausted_until = 0.0
        self.generation = self.leases = 0
        self.leasing: asyncio.Future[None] | None = None
        self.syncing: asyncio.Future[None] | None = None
        self.synced_at = float("-inf")
        self._synced_start = -1
        self._late: list[Change] = []
        self.said: set[str] = set()
        self.touched = False
        # Whether a request may pass without a further look.
        self.open = False
        self.allow(limit)

    @staticmethod
    def counts(limit: Limit, window: Window) -> bool:
        """Whether the limit says anything about windows of this length."""
        return any(amount.window is window and amount.name in limit.amounts for amount in AMOUNTS)

    def allow(self, limit: Limit) -> None:
        """The limit in force from now on."""
        self.limit = limit
        most = {
            amount.quantity: limit.amounts.get(amount.name, 0)
            for amount in AMOUNTS
            if amount.window is self.window
        }
        self.max_requests = most.get("requests", 0)
        self.max_tokens = most.get("tokens", 0)
        self.max_cost = most.get("cost", 0)
        self.totals_matter = bool(self.max_tokens or self.max_cost)
        self.exhausted_until = 0.0
        if not self.max_requests:
            self.granted = _UNLIMITED
        elif self.granted > self.max_requests:
            self.granted = 0
        self.open = False

    def roll(self, now: int) -> None:
        """A new window. Leases end with their window; what was used of it is still handed over."""
        if self.debt or self._unsent_tokens or self._unsent_cost:
            self._late.append((self.start, self.end, self.debt, self._unsent_tokens, self._unsent_cost))
        self.start, self.end = self.window.bounds(now)
        self.tokens = self.cost = self._unsent_tokens = self._unsent_cost = 0
        self.gone = self.admitted = self.debt = 0
        self.granted = 0 if self.max_requests else _UNLIMITED
        self.low = -1
        self.exhausted_until = 0.0
        self.generation += 1
        self.said = set()
        self.open = False

    def fresh(self, moment: float) -> bool:
        """Whether the totals are new enough to go by."""
        return self._synced_start == self.start and moment - self.synced_at <= FRESH_SECONDS

    def over(self) -> str | None:
        """The limit that is used up, of those that are known after the answer only."""
        if self.max_tokens and self.tokens >= self.max_tokens:
            return f"tokensPer{self.window.capitalize()}"
        if self.max_cost and self.cost >= self.max_cost:
            return f"costPer{self.window.capitalize()}"
        return None

    @property
    def left_requests(self) -> int:
        return self.max_requests - self.gone + self.granted

    def pass_one(self) -> None:
        """One request is let through."""
        self.admitted += 1
        self.granted -= 1
        if self.granted <= 0:
            self.open = False

    def charge(self, tokens: int, cost: int) -> None:
        self.tokens += tokens
        self.cost += cost
        self._unsent_tokens += tokens
        self._unsent_cost += cost
        if self.over() is not None:
            self.open = False

    def leased(self, granted: int, gone: int, exhausted_until: float) -> None:
        """What a call for a lease has brought."""
        self.granted += granted
        self.leases += 1
        # What was given back and is on its way counts as back.
        self.gone = gone + self._on_its_way()
        self.wanted = 0
        self.low = granted // 2 if granted else -1
        if not granted:
            self.exhausted_until = exhausted_until

    def _on_its_way(self) -> int:
        return self.debt + sum(change[2] for change in self._late if change[0] == self.start)

    def give_back(self) -> None:
        """Leases that are not used here may be used elsewhere; one that is under way comes back, too."""
        self.generation += 1
        if self.max_requests and self.granted > 0:
            # What was let through without a lease is owed; the difference is what changes.
            self._late.append((self.start, self.end, -self.granted, 0, 0))
            self.gone -= self.granted
            self.granted = 0
        self.low = -1
        self.open = False

    def has_changes(self) -> bool:
        return bool(self._late or self.debt or self._unsent_tokens or self._unsent_cost)

    def take_changes(self) -> list[Change]:
        """What is to be added to the fleet's counters; for the window that is now also when it is nothing."""
        changes = [*self._late, (self.start, self.end, self.debt, self._unsent_tokens, self._unsent_cost)]
        self._late = []
        self.debt = self._unsent_tokens = self._unsent_cost = 0
        sums: dict[int, Change] = {}
        for start, end, *parts in changes:
            before = sums.get(start, (start, end, 0, 0, 0))
            sums[start] = (start, end, before[2] + parts[0], before[3] + parts[1], before[4] + parts[2])
        return [
            change
            for change in sums.values()
            if any(change[2:]) or (self.totals_matter and change[0] == self.start)
        ]

    def keep(self, change: Change) -> None:
        """A change that could not be handed over, for the next time."""
        self._late.append(change)
        self.open = False

    def owe_back(self, start: int, end: int, granted: int) -> None:
        """A lease that came too late to be used here."""
        self._late.append((start, end, -granted, 0, 0))

    def learn(self, totals: Totals, moment: float, leases: int) -> None:
        """The fleet's totals. `leases` is how many leases had been taken when they were asked for."""
        waiting = [change for change in self._late if change[0] == self.start]
        self.tokens = totals.tokens + self._unsent_tokens + sum(change[3] for change in waiting)
        self.cost = totals.cost + self._unsent_cost + sum(change[4] for change in waiting)
        if leases == self.leases:  # otherwise a lease has told something newer meanwhile
            self.gone = totals.requests + self._on_its_way()
        self.synced_at, self._synced_start = moment, self.start
        if self.over() is not None:
            self.open = False

    def budgets(self) -> Iterator[tuple[Amount, int]]:
        """The budgets of this window, and what is used of each."""
        if not self.is_budget:
            return
        for amount in AMOUNTS:
            if amount.window is self.window and amount.name in self.limit.amounts:
                yield amount, self.tokens if amount.quantity == "tokens" else self.cost
