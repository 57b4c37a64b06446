"""The warnings of budgets: written down by gateways (`ALERT` in the limits table), told on the event bus."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from lisa.events import EventPublisher
from lisa.limits.prices import to_dollars
from lisa.limits.record import Amount

SOURCE = "lisa.limits"
DetailType = Literal["Budget Warning", "Budget Exhausted"]
WARNING: DetailType = "Budget Warning"
EXHAUSTED: DetailType = "Budget Exhausted"
KEEP_SECONDS = 93 * 86_400  # after the window's end

_FIELDS = ("subjectType", "subjectId", "limit", "allowed", "used", "windowStart", "resetsAt")


def alert_row(
    detail_type: DetailType,
    *,
    subject_type: str,
    subject_id: str,
    amount: Amount,
    allowed: int,
    used: int,
    window: tuple[int, int],
    now: int,
) -> dict[str, str | int]:
    """What is written down. Amounts of money come in millionths, and go as US dollars; `window` is its bounds."""
    money = amount.quantity == "cost"
    return {
        "detailType": detail_type,
        "subjectType": subject_type,
        "subjectId": subject_id,
        "limit": amount.name,
        "allowed": to_dollars(allowed) if money else allowed,
        "used": to_dollars(used) if money else used,
        "windowStart": window[0],
        "resetsAt": window[1],
        "at": now,
    }


def announce(publisher: EventPublisher, row: Mapping[str, Any]) -> None:
    """Raises Unavailable when the bus does not take it, so that the stream delivers the row again."""
    detail = {name: value if isinstance(value := row[name], str) else int(value) for name in _FIELDS}
    detail["at"] = datetime.fromtimestamp(int(row["at"]), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    publisher.say(SOURCE, str(row["detailType"]), detail)
