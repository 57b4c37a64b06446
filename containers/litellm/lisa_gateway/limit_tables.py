"""What the limits ask of DynamoDB."""

from collections.abc import Mapping
from typing import Protocol

from lisa.limits.counters import Totals
from lisa.limits.prices import Price
from lisa.limits.record import Limit
from lisa.limits.windows import Window


class Definitions(Protocol):
    """What is asked of `lisa.limits.store.LimitStore`."""

    def version(self) -> int: ...
    def everything(self) -> tuple[int, list[Limit], list[Price]]: ...


class Counters(Protocol):
    """What is asked of `lisa.limits.counters.CounterStore`, from threads."""

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
    ) -> Totals: ...
    def lease(
        self, subject: str, window: Window, start: int, end: int, *, wanted: int, share: int, limit: int
    ) -> tuple[int, int]: ...
    def alert(self, key: str, detail: Mapping[str, str | int], *, expires: int) -> bool: ...
