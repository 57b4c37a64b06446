"""An API token's row. It never changes: what may be done with a token is settled when it is made."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# An expired token stays in lists for so long, so that people see why their program has stopped. Seconds.
KEPT_AFTER_EXPIRY = 30 * 86_400


@dataclass(frozen=True, slots=True)
class ApiToken:
    """`digest` is the SHA-256 of the token, in hexadecimal digits; times are seconds since the epoch.

    `ancestors` are the digests of the token that made this one, of the token that made that one, and so on. A token
    is good only as long as all of them are there.
    """

    digest: str
    uuid: str
    name: str
    user: str
    groups: tuple[str, ...]
    is_system: bool
    created_at: int
    created_by: str
    expires_at: int
    ancestors: tuple[str, ...] = ()

    def attributes(self) -> dict[str, Any]:
        return {
            "digest": self.digest,
            "uuid": self.uuid,
            "name": self.name,
            "user": self.user,
            "groups": list(self.groups),
            "isSystem": self.is_system,
            "createdAt": self.created_at,
            "createdBy": self.created_by,
            "validUntil": self.expires_at,
            "ancestors": list(self.ancestors),
            "expiresAt": self.expires_at + KEPT_AFTER_EXPIRY,  # when DynamoDB deletes the row
        }

    @classmethod
    def from_attributes(cls, item: Mapping[str, Any]) -> "ApiToken":
        return cls(
            digest=item["digest"],
            uuid=item["uuid"],
            name=item["name"],
            user=item["user"],
            groups=tuple(item["groups"]),
            is_system=item["isSystem"],
            created_at=int(item["createdAt"]),
            created_by=item["createdBy"],
            expires_at=int(item["validUntil"]),
            ancestors=tuple(item["ancestors"]),
        )
