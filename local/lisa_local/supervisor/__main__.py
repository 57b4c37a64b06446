"""`python -m lisa_local.supervisor <home>`: run the components of one local cloud until told to stop."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import sys
import time
from pathlib import Path
from typing import IO

from lisa_local.config import Config, claim_loopback_block
from lisa_local.console import Problem
from lisa_local.home import ROOT, Home
from lisa_local.processes import adopt_orphans
from lisa_local.supervisor.daemon import Component, Supervisor

# It computes all the while it starts: seconds where nothing else runs, 120 were seen on a crowded machine.
OPENSEARCH_SECONDS = 180.0


def components(home: Home, config: Config) -> tuple[Component, ...]:
    def component(name: str, *needs: str, stop_seconds: float = 10, start_seconds: float = 60) -> Component:
        command = (sys.executable, "-m", f"lisa_local.{name}", str(home.path))
        return Component(name, command, needs, stop_seconds, start_seconds)

    # The emulator stops before the engine, or it would replace the containers that the engine ends.
    return (
        component("postgres", stop_seconds=35),
        *(
            [component("opensearch", stop_seconds=35, start_seconds=OPENSEARCH_SECONDS)]
            if config.opensearch.node
            else []
        ),
        component("engine", stop_seconds=15),
        component("emulator", "engine", stop_seconds=45),
        component("door", "emulator"),
    )


def environment(home: Home) -> dict[str, str]:
    """A clean environment: keys, proxies and profiles of the caller's shell must not reach functions."""
    kept = {
        name: os.environ[name] for name in ("HOME", "LANG", "LC_ALL", "USER", "LOGNAME") if name in os.environ
    }
    return {
        "LANG": "C.UTF-8",
        **kept,
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
        "TMPDIR": str(home.temporary),
        "PYTHONUNBUFFERED": "1",
        "LISA_HOME": str(home.path),
        "LISA_CLOUD": str(home.path),
    }


def take(lock: IO[str]) -> bool:
    """Take the lock; who only looks whether it is held holds it for an instant as well."""
    deadline = time.monotonic() + 2
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        else:
            return True


def main() -> int:
    home = Home(Path(sys.argv[1]).absolute())
    os.umask(0o077)
    lock = home.supervisor_lock.open("a+")
    if not take(lock):
        print("a supervisor runs already for this state folder", file=sys.stderr)
        return 1
    config = Config.load(home)
    if config is None:
        raise Problem(f"{home.config} is missing")
    claim = claim_loopback_block(config.loopback_block)
    if claim is None:
        print(
            f"another local cloud uses the loopback addresses 127.{config.loopback_block}.x.y",
            file=sys.stderr,
        )
        return 1
    lock.truncate(0)
    lock.write(json.dumps({"pid": os.getpid()}))
    lock.flush()
    adopt_orphans()
    os.chdir(ROOT)
    supervisor = Supervisor(home, components(home, config), environment(home))
    asyncio.run(supervisor.run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
