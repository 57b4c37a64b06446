"""Where totals lie in the usage table.

| pk | sk | what |
| --- | --- | --- |
| `BATCH#<id>` | `RECORDED` | this message has been recorded |
| `ALL#<by>#<shard>` | `H#<hour>#<value>`, `D#<day>#<value>` | everybody's requests, by user, group, model or token |
| `ALL#user#<shard>` | `T#<user>` | all that a user has ever used, as long as they are seen |
| `USER#<user>` | `<by>#H#<hour>#<value>`, `<by>#D#<day>#<value>` | one user's requests, by model or token |

What people may choose stands last in a key, so that no two of them can be taken for each other.
"""

import hashlib
import zlib

from lisa.usage.message import Dimension

# Everybody's totals are spread over so many partitions: each takes 1,000 write units a second.
SHARDS = 8

_LONGEST = 512  # bytes of a name in a key; DynamoDB takes 1,024 of a sort key


def bounded(name: str) -> str:
    """The name, or for one that is too long for a key its beginning and a hash."""
    encoded = name.encode("utf-8", "surrogatepass")
    if len(encoded) <= _LONGEST:
        return name
    start = encoded[: _LONGEST - 70].decode("utf-8", "ignore")
    return f"{start}~{hashlib.sha256(encoded).hexdigest()}"


def partition(of: str | None, by: Dimension, value: str) -> str:
    if of is not None:
        return f"USER#{bounded(of)}"
    return f"ALL#{by}#{zlib.crc32(bounded(value).encode()) % SHARDS}"


def partitions(of: str | None, by: Dimension) -> list[str]:
    """All that a report has to read."""
    if of is not None:
        return [f"USER#{bounded(of)}"]
    return [f"ALL#{by}#{shard}" for shard in range(SHARDS)]


def hour_row(of: str | None, by: Dimension, hour: str, value: str) -> str:
    return f"{period_prefix(of, by, 'H')}{hour}#{bounded(value)}"


def day_row(of: str | None, by: Dimension, day: str, value: str) -> str:
    return f"{period_prefix(of, by, 'D')}{day}#{bounded(value)}"


def period_prefix(of: str | None, by: Dimension, period: str) -> str:
    return f"{period}#" if of is None else f"{by}#{period}#"


def total_row(user: str) -> str:
    return f"T#{bounded(user)}"
