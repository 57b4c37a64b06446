"""The windows that limits are counted in: fixed ones, the same for every gateway, in UTC."""

from datetime import UTC, datetime
from enum import StrEnum


class Window(StrEnum):
    MINUTE = "minute"
    DAY = "day"
    MONTH = "month"

    def bounds(self, now: int) -> tuple[int, int]:
        """The window that `now` lies in: its first second, and the first one after it. Seconds since the epoch."""
        if self is Window.MINUTE:
            start = now - now % 60
            return start, start + 60
        if self is Window.DAY:
            start = now - now % 86_400
            return start, start + 86_400
        at = datetime.fromtimestamp(now, UTC)
        first = datetime(at.year, at.month, 1, tzinfo=UTC)
        after = datetime(at.year + at.month // 12, at.month % 12 + 1, 1, tzinfo=UTC)
        return int(first.timestamp()), int(after.timestamp())


# How long a window's counter is kept after its end, in seconds: long enough to be looked at.
KEEP_SECONDS = {Window.MINUTE: 3_600, Window.DAY: 7 * 86_400, Window.MONTH: 93 * 86_400}
