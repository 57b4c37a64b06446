"""No access key is root over HTTP.

As shipped, `test`, any twelve digits and every `Authorization` header that is not AWS's count as the
account's root, whatever their secret. Root remains what has no key at all and came unsigned: the few Cognito
operations that AWS serves unsigned too.
"""

from __future__ import annotations

from ministack.core import iam_evaluator
from ministack.services import sts

from lisa_local.emulator.bridges.seams import Bridge, Context, original, replace


def install(_: Context) -> None:
    anonymous = original(iam_evaluator, "_anonymous")

    def is_root_access_key(access_key_id: str) -> bool:
        return not access_key_id and bool(anonymous.get())

    for module in (iam_evaluator, sts):  # sts imported it by name
        replace(module, "is_root_access_key", is_root_access_key)


BRIDGE = Bridge("no-root", "no key is root over HTTP", install)
