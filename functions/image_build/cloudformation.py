"""A custom resource's request, and the answer to it.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref.html
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

ANSWER_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Request:
    kind: str
    response_url: str
    stack_id: str
    request_id: str
    logical_id: str
    project: str
    repository: str
    source: str
    dockerfile: str
    architecture: str

    @property
    def physical_id(self) -> str:
        """The repository: a new image in it is the same resource."""
        return self.repository

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> Request:
        properties = event["ResourceProperties"]
        return cls(
            kind=event["RequestType"],
            response_url=event["ResponseURL"],
            stack_id=event["StackId"],
            request_id=event["RequestId"],
            logical_id=event["LogicalResourceId"],
            project=properties["Project"],
            repository=properties["Repository"],
            source=properties["Source"],
            dockerfile=properties["Dockerfile"],
            architecture=properties["Architecture"],
        )

    @classmethod
    def from_json(cls, text: str) -> Request:
        return cls(**json.loads(text))

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def answer(request: Request, *, data: Mapping[str, str] | None = None, failure: str = "") -> None:
    """Tell CloudFormation how it went; a reason is cut to what it takes.

    Raises:
        urllib.error.URLError: the answer did not arrive; Lambda tries the event again.
    """
    body = {
        "Status": "FAILED" if failure else "SUCCESS",
        "Reason": failure[:1000],
        "PhysicalResourceId": request.physical_id,
        "StackId": request.stack_id,
        "RequestId": request.request_id,
        "LogicalResourceId": request.logical_id,
        "Data": dict(data or {}),
    }
    # The URL is signed for an empty content type.
    put = urllib.request.Request(  # noqa: S310 - CloudFormation's own address
        request.response_url, json.dumps(body).encode(), {"Content-Type": ""}, method="PUT"
    )
    with urllib.request.urlopen(put, timeout=ANSWER_SECONDS):  # noqa: S310
        pass
