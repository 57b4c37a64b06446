"""Target groups: which target gets the next request."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

_turns = itertools.count()


class Health(StrEnum):
    UNKNOWN = "unknown"
    """Not checked yet."""
    HEALTHY = "healthy"
    SLOW = "slow"
    """Answered before, and now too late: perhaps only busy."""
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """A target group's settings, in seconds."""

    enabled: bool = True
    path: str = "/"
    port: int | None = None
    """None: the port that traffic goes to."""
    interval: float = 30
    timeout: float = 5
    unhealthy_threshold: int = 2
    codes: tuple[tuple[int, int], ...] = ((200, 200),)
    """Ranges of statuses that mean healthy, both ends included."""

    def passes(self, status: int) -> bool:
        return any(low <= status <= high for low, high in self.codes)


@dataclass(eq=False)
class Target:
    """An address that requests go to; it lives on while requests do, after it left its group."""

    host: str
    port: int
    health: Health = Health.UNKNOWN
    failures: int = 0
    outstanding: int = 0
    last_used: int = 0

    @property
    def origin(self) -> str:
        return f"http://{self.host}:{self.port}"

    @contextmanager
    def request(self) -> Iterator[Target]:
        """Count a request while it is under way."""
        self.outstanding += 1
        self.last_used = next(_turns)
        try:
            yield self
        finally:
            self.outstanding -= 1

    def lost(self) -> None:
        """A connection to it failed: nothing goes there until a check succeeds."""
        self.health = Health.UNHEALTHY


@dataclass(eq=False)
class TargetGroup:
    arn: str
    check: HealthCheck = field(default_factory=HealthCheck)
    targets: dict[tuple[str, int], Target] = field(default_factory=dict)

    def choose(self, *, but: Target | None = None) -> Target | None:
        """The healthy target with the fewest requests under way, the one used longest ago among equals.

        When none is healthy, those that are merely slow get requests: busy is not dead.
        """
        for health in (Health.HEALTHY, Health.SLOW):
            candidates = [each for each in self.targets.values() if each.health is health and each is not but]
            if candidates:
                return min(candidates, key=lambda each: (each.outstanding, each.last_used))
        return None
