"""A batch of messages needs the permission that each of them needs, as on AWS.

The emulator asks for `sqs:SendMessageBatch`, which is no action of IAM: no policy could allow it by its name.
"""

from __future__ import annotations

from typing import Any

from ministack.core import iam_actions

from lisa_local.emulator.bridges.seams import Bridge, Context, original, replace

ACTIONS = {
    f"sqs:{action}Batch": f"sqs:{action}"
    for action in ("SendMessage", "DeleteMessage", "ChangeMessageVisibility")
}


def install(_: Context) -> None:
    extract = original(iam_actions, "extract_iam_action")

    def extract_iam_action(*args: Any, **kwargs: Any) -> Any:
        action = extract(*args, **kwargs)
        return ACTIONS.get(action, action)

    replace(iam_actions, "extract_iam_action", extract_iam_action)


BRIDGE = Bridge("batch_actions", "a batch of messages needs the permission of a message", install)
