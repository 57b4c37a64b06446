"""The queues of work: S3's events come by them, and what we ask for ourselves."""

import json
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict

from lisa.errors import Unavailable

# Limits of SendMessageBatch, and of a message's delay in seconds.
_BATCH, MAX_DELAY = 10, 900


class Request(BaseModel):
    """A piece of work. `sequencer` is padded (`naming.sequencer`), `size` in bytes.

    With `bucket` and `key`: a version of an object that appeared, or with `removal` its end, as an event said or
    somebody found by looking (then `pipeline` says for which). With `document_id`: what its object's row says has
    to be done; with `generation` too, the document goes into that generation of its collection as well; with `retag`,
    what is known of it has changed and its content has not. `force` embeds again what has not changed. `interactive`
    is what a person waits for.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    bucket: str = ""
    key: str = ""
    sequencer: str = ""
    etag: str = ""
    size: int = 0
    removal: bool = False
    pipeline: str = ""
    existing: bool = False
    document_id: str = ""
    generation: int = 0
    retag: bool = False
    force: bool = False
    interactive: bool = False
    tries: int = 0


class WorkQueue:
    """Two queues, so that nobody who waits does so behind thousands of files that were dropped at once.

    `client` is a low-level SQS client. A function has the addresses of those that it asks: `url` is empty where
    somebody always waits, `interactive_url` where nobody does.
    """

    def __init__(self, url: str, client: Any, *, interactive_url: str = "") -> None:
        self._urls = {False: url, True: interactive_url or url}
        self._client = client

    def ask(self, requests: Iterable[Request], *, delay: int = 0) -> None:
        """Raises Unavailable when the queue did not take all of them; asking again does no harm.

        `delay` in seconds, 900 at most.
        """
        asked: dict[bool, list[str]] = {}
        for each in requests:
            body = json.dumps({"request": each.model_dump(exclude_defaults=True)})
            asked.setdefault(each.interactive, []).append(body)
        for interactive, bodies in asked.items():
            self._send(self._urls[interactive], bodies, delay)

    def _send(self, url: str, bodies: list[str], delay: int) -> None:
        for start in range(0, len(bodies), _BATCH):
            entries: Any = [
                {"Id": str(number), "MessageBody": body, "DelaySeconds": min(delay, MAX_DELAY)}
                for number, body in enumerate(bodies[start : start + _BATCH])
            ]
            answer = self._client.send_message_batch(QueueUrl=url, Entries=entries)
            if answer.get("Failed"):
                raise Unavailable(f"The queue did not take the work: {answer['Failed'][0].get('Message')}")
