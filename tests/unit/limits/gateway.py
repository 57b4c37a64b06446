"""A whole gateway as a process of its own: `gateway.py TABLE NOW`. Prints its port and a token of alice's.

Its clock stands still, so that no minute ends in the middle of a test.
"""

import json
import os
import sys

from lisa_gateway.__main__ import open_limits
from lisa_gateway.limits import Limits

from tests.unit.gateway.harness import ALICE, running, wait_for


def main() -> None:
    table, now = sys.argv[1], int(sys.argv[2])
    limits = lambda: Limits(lambda: open_limits(table), clock=lambda: now, poll_seconds=0.1)  # noqa: E731
    with running(limits=limits) as gateway:
        wait_for(lambda: gateway.application.limits.loaded)
        print(json.dumps({"port": gateway.port, "token": ALICE, "pid": os.getpid()}), flush=True)
        sys.stdin.read()  # until the test closes it


if __name__ == "__main__":
    main()
