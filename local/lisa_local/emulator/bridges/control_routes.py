"""The emulator's own routes, which ask for no credentials, are closed.

`/_ministack/reset` empties it, `/_ministack/config` changes it, others read messages, code and mail. Open
stay its health and what custom resources and wait conditions answer to, whose URLs hold a token.
"""

from __future__ import annotations

_OPEN = frozenset({"/_ministack/health", "/_ministack/ready"})
_OPEN_BELOW = ("/_ministack/cfn-response/", "/_ministack/cfn-signal/")
_CLOSED_BELOW = (
    "/_ministack",
    "/_localstack",
    "/_alb",  # load balancers are the front door's
    "/_aws/sqs",
    "/_aws/ses",
    "/_aws/sns",
    "/v2/credentials",
)


def is_closed(path: str) -> bool:
    """Whether a request to this (decoded) path is refused."""
    if path in _OPEN or path.startswith(_OPEN_BELOW):
        return False
    return any(path == closed or path.startswith(closed + "/") for closed in _CLOSED_BELOW)
