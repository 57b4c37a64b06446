"""The tokens table, in memory."""

import hashlib
import time
from dataclasses import replace

from botocore.exceptions import EndpointConnectionError
from lisa.tokens.format import new_token
from lisa.tokens.record import ApiToken


class Rows:
    """The tokens table, in memory; counts the questions."""

    def __init__(self, now: float | None = None) -> None:
        self._now = time.time() if now is None else now
        self.rows: dict[str, ApiToken] = {}
        self.asked: list[str] = []
        self.used: list[tuple[str, int]] = []
        self.down = False

    def add(self, *groups: str, **changes: object) -> str:
        token = new_token()
        digest = hashlib.sha256(token.encode()).hexdigest()
        row = ApiToken(
            digest=digest, uuid=f"uuid-{len(self.rows)}", name="n", user="alice", groups=groups, is_system=False,
            created_at=0, created_by="alice", expires_at=int(self._now) + 3600,
        )  # fmt: skip
        self.rows[digest] = replace(row, **changes)
        return token

    def by_digest(self, digest: str) -> ApiToken | None:
        self.asked.append(digest)
        if self.down:
            raise EndpointConnectionError(endpoint_url="https://dynamodb")
        return self.rows.get(digest)

    def mark_used(self, uuid: str, at: int, expires_at: int) -> None:
        if self.down:
            raise EndpointConnectionError(endpoint_url="https://dynamodb")
        self.used.append((uuid, at))
