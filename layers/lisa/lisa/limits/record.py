"""A limit as it is stored, and the names by which counters are found."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

from lisa.limits.windows import Window

SubjectType = Literal["user", "group", "token", "model", "default-user"]
SUBJECT_TYPES: tuple[str, ...] = get_args(SubjectType)
EVERYBODY = "*"  # the only id of the type default-user
_LONGEST_KEY = 1_000  # bytes; DynamoDB takes 2048


class Amount(NamedTuple):
    """What a limit counts: a quantity within a window. `name` is the API's."""

    name: str
    quantity: Literal["requests", "tokens", "cost"]
    window: Window

    @property
    def is_budget(self) -> bool:
        """Budgets are warned of, and hold on when counters cannot be reached; rates are about the moment."""
        return self.window is not Window.MINUTE


AMOUNTS = (
    Amount("requestsPerMinute", "requests", Window.MINUTE),
    Amount("tokensPerMinute", "tokens", Window.MINUTE),
    Amount("tokensPerDay", "tokens", Window.DAY),
    Amount("tokensPerMonth", "tokens", Window.MONTH),
    Amount("costPerDay", "cost", Window.DAY),
    Amount("costPerMonth", "cost", Window.MONTH),
)


@dataclass(frozen=True, slots=True)
class Limit:
    """What a subject may use. Amounts by the names of AMOUNTS; money in millionths of a US dollar.

    `warn_at` is in millionths of a budget.
    """

    subject_type: SubjectType
    subject_id: str
    amounts: Mapping[str, int]
    warn_at: int = 800_000
    updated_at: int = 0
    updated_by: str = ""

    def item(self) -> dict[str, Any]:
        return {
            "pk": "LIMIT",
            "sk": limit_key(self.subject_type, self.subject_id),
            "subjectType": self.subject_type,
            "subjectId": self.subject_id,
            **self.amounts,
            "warnAt": self.warn_at,
            "updatedAt": self.updated_at,
            "updatedBy": self.updated_by,
        }

    @classmethod
    def from_item(cls, item: Mapping[str, Any]) -> "Limit":
        return cls(
            subject_type=item["subjectType"],
            subject_id=item["subjectId"],
            amounts={amount.name: int(item[amount.name]) for amount in AMOUNTS if amount.name in item},
            warn_at=int(item["warnAt"]),
            updated_at=int(item["updatedAt"]),
            updated_by=item["updatedBy"],
        )


def limit_key(subject_type: str, subject_id: str) -> str:
    # No type holds a "#": whatever the id holds, two subjects never share a key.
    return f"{subject_type}#{subject_id}"


def counter_key(subject_type: str, subject_id: str) -> str:
    """The partition of a subject's counters. Ids come from tokens: of any length, and perhaps no valid text."""
    try:
        encoded = subject_id.encode()
    except UnicodeEncodeError:  # half a surrogate pair
        encoded = b""
    if not encoded or len(encoded) > _LONGEST_KEY:
        digest = hashlib.sha256(subject_id.encode("utf-8", "surrogatepass")).hexdigest()
        return f"COUNTER#{subject_type}:sha256#{digest}"
    return f"COUNTER#{subject_type}#{subject_id}"
