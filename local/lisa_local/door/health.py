"""Health checks of targets, each in a task of its own."""

from __future__ import annotations

import asyncio
import logging

import aiohttp

from lisa_local.door.targets import Health, HealthCheck, Target

logger = logging.getLogger("lisa.door.health")

SLOWEST_INTERVAL = 10.0
"""Seconds; templates say 30, which is for large fleets."""

RETRY_SECONDS = 0.5
"""Between checks of a target that does not answer (yet)."""


class HealthChecker:
    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._tasks: dict[Target, asyncio.Task[None]] = {}

    def watch(self, target: Target, check: HealthCheck) -> None:
        """Check a target from now on; a second call replaces the first."""
        self.forget(target)
        if not check.enabled:
            target.health = Health.HEALTHY
            return
        self._tasks[target] = asyncio.create_task(self._watch(target, check))

    def forget(self, target: Target) -> None:
        task = self._tasks.pop(target, None)
        if task is not None:
            task.cancel()

    async def close(self) -> None:
        for target in list(self._tasks):
            self.forget(target)
        if self._session is not None:
            await self._session.close()

    async def _watch(self, target: Target, check: HealthCheck) -> None:
        while True:
            before = target.health
            await self._check(target, check)
            if target.health is not before:
                logger.info("%s is %s", target.origin, target.health)
            healthy = target.health is Health.HEALTHY
            pause = min(check.interval, SLOWEST_INTERVAL) if healthy else RETRY_SECONDS
            # A failed connection of a request makes it unhealthy between two checks: then look again soon.
            deadline = asyncio.get_running_loop().time() + pause
            while (left := deadline - asyncio.get_running_loop().time()) > 0:
                await asyncio.sleep(min(left, RETRY_SECONDS))
                if healthy and target.health is not Health.HEALTHY:
                    break

    async def _check(self, target: Target, check: HealthCheck) -> None:
        """One check. One success is enough to start; doubtful failures count to the threshold."""
        try:
            status = await self._status(target, check)
        except TimeoutError:
            target.failures += 1
            if target.failures >= check.unhealthy_threshold or target.health is Health.UNKNOWN:
                target.health = (
                    Health.SLOW if target.health in (Health.HEALTHY, Health.SLOW) else Health.UNHEALTHY
                )
            return
        except (aiohttp.ClientError, OSError):
            target.failures += 1
            target.health = Health.UNHEALTHY  # nobody listens there
            return
        if check.passes(status):
            target.failures = 0
            target.health = Health.HEALTHY
            return
        target.failures += 1
        if target.failures >= check.unhealthy_threshold or target.health is not Health.HEALTHY:
            target.health = Health.UNHEALTHY

    async def _status(self, target: Target, check: HealthCheck) -> int:
        if self._session is None:
            # A connection a check: it finds out whether new ones are accepted.
            connector = aiohttp.TCPConnector(limit=0, force_close=True)
            self._session = aiohttp.ClientSession(
                connector=connector, headers={"User-Agent": "ELB-HealthChecker/2.0"}
            )
        url = f"http://{target.host}:{check.port or target.port}{check.path}"
        timeout = aiohttp.ClientTimeout(total=check.timeout)
        async with self._session.get(url, timeout=timeout, allow_redirects=False) as response:
            return response.status


def parse_codes(text: str) -> tuple[tuple[int, int], ...]:
    """`200,202` or `200-299`, as a target group's matcher has it."""
    ranges = []
    for part in text.split(","):
        low, _, high = part.strip().partition("-")
        ranges.append((int(low), int(high or low)))
    return tuple(ranges)
