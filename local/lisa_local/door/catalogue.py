"""Load balancers and their targets, kept in step with the emulator."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

from lisa_local.door.health import HealthChecker, parse_codes
from lisa_local.door.rules import Listener, parse_listener
from lisa_local.door.targets import HealthCheck, Target, TargetGroup

logger = logging.getLogger("lisa.door.catalogue")

POLL_SECONDS = 0.5


class Catalogue:
    """What the emulator's load balancers look like now.

    While the emulator is away, what it said last stands: its containers may well be running.
    """

    def __init__(self, socket: Path, checker: HealthChecker) -> None:
        self._socket = socket
        self._checker = checker
        self._session: aiohttp.ClientSession | None = None
        self._seen = b""
        self.listeners: dict[tuple[str, int], Listener] = {}
        self.groups: dict[str, TargetGroup] = {}
        self.changed = asyncio.Event()
        """Set when the listeners may have changed."""

    async def run(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await self.refresh()

    async def refresh(self) -> None:
        """Read the emulator's answer and, if it is new, take it over."""
        if self._session is None:
            connector = aiohttp.UnixConnector(str(self._socket))
            self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=5))
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            async with self._session.get("http://emulator/_lisa/balancers") as response:
                answer = await response.read()
                if response.status != 200 or answer == self._seen:
                    return
            try:
                self.take(json.loads(answer))
            except (KeyError, TypeError, ValueError) as error:
                logger.error("the emulator's load balancers cannot be understood: %r", error)
                return
            self._seen = answer

    def take(self, answer: Mapping[str, Any]) -> None:
        """Replace what is known by an answer of the emulator's internal route."""
        self.listeners = {
            (listener.address, listener.port): listener
            for balancer in answer["loadBalancers"]
            for listener in (parse_listener(balancer["address"], each) for each in balancer["listeners"])
        }
        self._take_groups(answer["targetGroups"])
        self.changed.set()

    def _take_groups(self, groups: Mapping[str, Mapping[str, Any]]) -> None:
        for arn in [arn for arn in self.groups if arn not in groups]:
            for target in self.groups.pop(arn).targets.values():
                self._checker.forget(target)
        for arn, described in groups.items():
            check = _check(described["healthCheck"])
            group = self.groups.setdefault(arn, TargetGroup(arn))
            changed, group.check = check != group.check, check
            wanted = {(str(each["id"]), int(each["port"])) for each in described["targets"]}
            for key in [key for key in group.targets if key not in wanted]:
                # Requests under way keep the target; it gets no new ones.
                self._checker.forget(group.targets.pop(key))
            for key in wanted:
                known = group.targets.get(key)
                target = known or group.targets.setdefault(key, Target(*key))
                if known is None or changed:
                    self._checker.watch(target, check)

    def group(self, arn: str | None) -> TargetGroup | None:
        return self.groups.get(arn or "")

    async def close(self) -> None:
        await self._checker.close()
        if self._session is not None:
            await self._session.close()


def _check(described: Mapping[str, Any]) -> HealthCheck:
    port = str(described["port"])
    return HealthCheck(
        enabled=bool(described["enabled"]),
        path=str(described["path"]),
        port=int(port) if port.isdigit() else None,
        interval=float(described["interval"]),
        timeout=float(described["timeout"]),
        unhealthy_threshold=int(described["unhealthy"]),
        codes=parse_codes(str(described["codes"])),
    )
