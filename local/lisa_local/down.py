"""`lisa down` and `lisa reset`."""

from __future__ import annotations

import shutil
import sys

from lisa_local import processes
from lisa_local.config import Config
from lisa_local.console import Problem, Steps
from lisa_local.home import Home
from lisa_local.postgres.account import forget_copy
from lisa_local.supervisor.control import Control


def down(home: Home, steps: Steps) -> None:
    """Stop everything in order, so that the last state is saved; nothing is left running."""
    if not home.config.exists():
        print("Nothing runs: no local cloud was ever started here.")
        return
    control = Control(home)
    if not control.running() and not processes.belonging_to(home.path):
        print("Nothing runs.")
        return
    with steps.step("stopped") as step:
        killed = control.stop()
        step.note(f"{', '.join(killed)} had to be killed" if killed else "the data is kept")
    left = processes.belonging_to(home.path)
    if left:
        raise Problem(
            f"Still running: {', '.join(processes.describe(p.pid) for p in left)}; end them by hand."
        )


def reset(home: Home, steps: Steps, *, ask: bool) -> None:
    """Stop everything and delete the state folder's content."""
    if not home.config.exists():
        print("Nothing to delete: no local cloud was ever started here.")
        return
    if Config.load(home) is None:
        raise Problem(f"{home.path} is not a state folder of LISA; nothing was deleted.")
    if ask:
        if not sys.stdin.isatty():
            raise Problem(f"This deletes everything in {home.path}: confirm with `lisa reset --yes`.")
        if input(f"Delete everything in {home.path}? [y/N] ").strip().lower() not in {"y", "yes"}:
            print("Nothing was deleted.")
            return
    down(home, steps)
    with steps.step("deleted") as step:
        forget_copy(home.path / "postgres")
        for entry in home.path.iterdir():
            # This command's own lock lies in the folder; it goes with the next reset or not at all.
            if entry.name == "command.lock":
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        step.note(str(home.path))
