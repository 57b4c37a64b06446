"""What makes the emulator behave as AWS does, where it does not by itself.

Each module here patches private names of one pinned version of ministack. `install` fails loudly when the
version is another or a name is gone, and every bridge has a test of what it achieves, so that an upgrade that
breaks one cannot pass unnoticed.
"""

from __future__ import annotations

import logging
from importlib.metadata import version

from lisa_local.component import ComponentError
from lisa_local.emulator.bridges import (
    addresses,
    batch_actions,
    container_credentials,
    control_routes,
    definitions,
    function_workers,
    gateway_responses,
    groups_on_refresh,
    nested_stacks,
    no_root,
    quick_copies,
    services,
    shared_layers,
    state_files,
    stream_positions,
    task_start,
    transport,
)
from lisa_local.emulator.bridges.seams import Bridge, Context

logger = logging.getLogger("lisa.emulator.bridges")

MINISTACK = "1.5.33"
"""The version whose private names the bridges rely on."""

BRIDGES: tuple[Bridge, ...] = (
    no_root.BRIDGE,
    transport.BRIDGE,
    function_workers.BRIDGE,
    shared_layers.BRIDGE,
    container_credentials.BRIDGE,
    task_start.BRIDGE,
    services.BRIDGE,
    addresses.BRIDGE,
    nested_stacks.BRIDGE,
    definitions.BRIDGE,
    gateway_responses.BRIDGE,
    groups_on_refresh.BRIDGE,
    state_files.BRIDGE,
    stream_positions.BRIDGE,
    batch_actions.BRIDGE,
    quick_copies.BRIDGE,
)


def install(context: Context) -> None:
    """Patch the emulator.

    Raises:
        ComponentError: the emulator is not the version that the bridges are written for.
    """
    found = version("ministack")
    if found != MINISTACK:
        raise ComponentError(
            f"the bridges are written for ministack {MINISTACK}, but {found} is installed: run `make setup`, "
            "or check every bridge and its test against the new version."
        )
    for bridge in BRIDGES:
        bridge.install(context)
        logger.info("bridge %s: %s", bridge.name, bridge.purpose)


__all__ = ["BRIDGES", "Bridge", "Context", "control_routes", "install"]
