"""The queue of work: S3's events come by it, and what we ask for ourselves."""

import json
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict

from lisa.errors import Unavailable

# Limits of SendMessageBatch, and of a message's delay in seconds.
_BATCH, MAX_DELAY = 10, 900


class Request(BaseModel):
    """Work that no event of S3 asks for.

    With `document_id` alone: what its object's row says has to be done. With `generation`: the document goes into
    that generation of its collection too. With `retag`: what is known of it has changed, its content has not. With
    `bucket` and `key`: a version of an object that somebody has found by looking.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    document_id: str = ""
    generation: int = 0
    retag: bool = False
    removal: bool = False
    bucket: str = ""
    key: str = ""
    pipeline: str = ""
    sequencer: str = ""
    etag: str = ""
    size: int = 0
    existing: bool = False


class WorkQueue:
    """`client` is a low-level SQS client."""

    def __init__(self, url: str, client: Any) -> None:
        self._url = url
        self._client = client

    def ask(self, requests: Iterable[Request], *, delay: int = 0) -> None:
        """Raises Unavailable when the queue did not take all of them; asking again does no harm."""
        bodies = [json.dumps({"request": each.model_dump(exclude_defaults=True)}) for each in requests]
        self.send(bodies, delay=delay)

    def send(self, bodies: list[str], *, delay: int = 0) -> None:
        """`delay` in seconds, 900 at most."""
        for start in range(0, len(bodies), _BATCH):
            entries: Any = [
                {"Id": str(number), "MessageBody": body, "DelaySeconds": min(delay, MAX_DELAY)}
                for number, body in enumerate(bodies[start : start + _BATCH])
            ]
            answer = self._client.send_message_batch(QueueUrl=self._url, Entries=entries)
            if answer.get("Failed"):
                raise Unavailable(f"The queue did not take the work: {answer['Failed'][0].get('Message')}")
