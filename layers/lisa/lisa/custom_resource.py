"""The answer that CloudFormation waits for when it has asked a function for a custom resource.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref.html
"""

import json
import urllib.request
from collections.abc import Mapping

ANSWER_SECONDS = 10


def answer(request: Mapping[str, str], physical_id: str, *, failure: str = "") -> None:
    """Raises URLError when the answer did not arrive; Lambda tries the event again."""
    body = {
        "Status": "FAILED" if failure else "SUCCESS",
        "Reason": failure[:1000],
        "PhysicalResourceId": request.get("PhysicalResourceId", physical_id),
        "StackId": request["StackId"],
        "RequestId": request["RequestId"],
        "LogicalResourceId": request["LogicalResourceId"],
    }
    # The URL is signed for an empty content type.
    put = urllib.request.Request(  # noqa: S310 - CloudFormation's own address
        request["ResponseURL"], json.dumps(body).encode(), {"Content-Type": ""}, method="PUT"
    )
    with urllib.request.urlopen(put, timeout=ANSWER_SECONDS):  # noqa: S310
        pass
