"""Pages of OpenAI's lists: `after` and `before` name an object, `limit` says how many, `order` which way."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from lisa.errors import InvalidRequest

DEFAULT_LIMIT = 20
MAX_LIMIT = 100


class Listed(Protocol):
    @property
    def id(self) -> str: ...


Item = TypeVar("Item", bound=Listed)


@dataclass(frozen=True, slots=True)
class PageRequest:
    """What a list was asked for; `newest_first` is OpenAI's `desc`, which is the default."""

    limit: int = DEFAULT_LIMIT
    newest_first: bool = True
    after: str = ""
    before: str = ""

    @classmethod
    def of(
        cls, query: Mapping[str, str], *, default: int = DEFAULT_LIMIT, most: int = MAX_LIMIT
    ) -> "PageRequest":
        """Raises InvalidRequest naming what is wrong."""
        text = query.get("limit") or str(default)
        limit = int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else 0
        if not 1 <= limit <= most:
            raise InvalidRequest(f"limit must be an integer from 1 to {most}.", field="limit")
        order = query.get("order") or "desc"
        if order not in ("asc", "desc"):
            raise InvalidRequest("order must be asc or desc.", field="order")
        after, before = query.get("after") or "", query.get("before") or ""
        if after and before:
            raise InvalidRequest("Give after or before, not both.", field="before")
        return cls(limit, order == "desc", after, before)


def page_of(
    oldest_first: Sequence[Item], asked: PageRequest, missing: Callable[[str], Exception]
) -> tuple[list[Item], bool]:
    """A page of a list that is at hand; and whether there is more in its direction.

    Raises what `missing` makes of an `after` or `before` that is not in the list.
    """
    items = list(reversed(oldest_first)) if asked.newest_first else list(oldest_first)
    cursor = asked.after or asked.before
    at = next((number for number, item in enumerate(items) if item.id == cursor), None)
    if cursor and at is None:
        raise missing(cursor)
    if asked.before and at is not None:
        begin = max(0, at - asked.limit)
        return items[begin:at], begin > 0
    begin = 0 if at is None else at + 1
    return items[begin : begin + asked.limit], begin + asked.limit < len(items)


def list_document(data: Sequence[Mapping[str, Any]], has_more: bool) -> dict[str, Any]:
    return {
        "object": "list",
        "data": list(data),
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": has_more,
    }
