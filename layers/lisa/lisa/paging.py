"""Pages of a list: how long they are, and the opaque token by which the next one is asked for."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import TypeVar

from lisa.errors import InvalidRequest

MAX_PAGE = 100
Item = TypeVar("Item")
_LONGEST_KEY = 256  # characters: what is longer than DynamoDB's 1,024 bytes can be no key of ours


def check_size(page_size: int | None) -> None:
    """Raises InvalidRequest for a size outside 1-100; None stands for no wish."""
    if page_size is not None and not 1 <= page_size <= MAX_PAGE:
        raise InvalidRequest(f"pageSize must be between 1 and {MAX_PAGE}.", field="pageSize")


def next_token(key: str | None) -> str | None:
    """The token of the page that begins after this key; None at the end."""
    return base64.urlsafe_b64encode(key.encode()).decode() if key else None


def key_of(token: str | None) -> str | None:
    """The key that a token stands for; raises InvalidRequest for a token that none of our pages gave."""
    if not token:
        return None
    try:
        key = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True).decode()
    except (ValueError, binascii.Error):
        key = ""
    if not 0 < len(key) <= _LONGEST_KEY:
        raise InvalidRequest("nextToken is not one that a page gave.", field="nextToken")
    return key


def page_of(
    items: Sequence[Item], key: Callable[[Item], str], *, size: int | None, token: str | None
) -> tuple[Sequence[Item], str | None]:
    """A page of what is all in memory, in the order of `key`, and the next one's token; without a size, all."""
    check_size(size)
    after = key_of(token)
    left = [item for item in sorted(items, key=key) if after is None or key(item) > after]
    if size is None or len(left) <= size:
        return left, None
    return left[:size], next_token(key(left[size - 1]))
