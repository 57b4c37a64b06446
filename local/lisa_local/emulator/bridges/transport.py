"""Loopback counts as TLS in policies.

SAM's own bucket policy, and ours, refuse requests that did not come over TLS; nothing here leaves the
machine.
"""

from __future__ import annotations

from ministack import app
from ministack.core import iam_evaluator

from lisa_local.emulator.bridges.seams import Bridge, Context, replace


def install(_: Context) -> None:
    pin = iam_evaluator.pin_request_origin

    def pin_request_origin(source_ip: str, secure_transport: bool) -> None:
        pin(source_ip, secure_transport or source_ip.startswith("127."))

    replace(app, "pin_request_origin", pin_request_origin)


BRIDGE = Bridge("transport", "aws:SecureTransport is true on loopback", install)
