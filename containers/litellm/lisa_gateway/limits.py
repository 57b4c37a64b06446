"""Limits: may this request be made, and what did it use. docs/limits.md states the rules and their bounds.

A request costs look-ups and additions. Requests a minute are leased from the fleet's counter in blocks, so that no
gateway admits what another one has; tokens and cost are added to the fleet's counters twice a second. Everything here
runs in the event loop; only calls of DynamoDB run in threads. A request waits for one when it finds no lease, or a
total that is too old.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from lisa.errors import LisaError
from lisa.identity import Principal
from lisa.limits.alerts import EXHAUSTED, KEEP_SECONDS, WARNING, DetailType, alert_row
from lisa.limits.prices import MILLION, Price
from lisa.limits.record import EVERYBODY, Amount, Limit, SubjectType, counter_key, limit_key
from lisa.limits.windows import Window

from lisa_gateway.http.exchange import Exchange
from lisa_gateway.limit_answers import REQUESTS, headers, refusal
from lisa_gateway.limit_tables import Counters, Definitions
from lisa_gateway.meters import Change, Meter

log = logging.getLogger(__name__)
T = TypeVar("T")

TICK_SECONDS = 0.5  # how often what was used is added to the fleet's counters
POLL_SECONDS = 1.0  # how often limits and prices are looked at
GRACE_SECONDS = 60.0  # how long budgets go by the last known totals while the table is away
RETRY_SECONDS = 1.0  # how long nobody waits for a table that has just failed
MAX_CACHED = 10_000  # callers and models whose meters are remembered

_Key = tuple[str, str, frozenset[str], str]


class Limits:
    """The limits in force. `open_tables` is called in a thread, when the tables are first needed."""

    def __init__(
        self,
        open_tables: Callable[[], tuple[Definitions, Counters]],
        *,
        clock: Callable[[], float] = time.time,
        tick_seconds: float = TICK_SECONDS,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._open_tables = open_tables
        self._tables: tuple[Definitions, Counters] | None = None
        self._clock = clock
        self._tick_seconds, self._poll_seconds = tick_seconds, poll_seconds
        self._threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="limits")
        self._limits: Mapping[str, Limit] = {}
        self._prices: Mapping[str, Price] = {}
        self.version = -1
        self._resolved: dict[_Key, tuple[Meter, ...]] = {}
        self._meters: dict[tuple[str, Window], Meter] = {}
        self._touched: list[Meter] = []
        self._resting: list[Meter] = []
        self._down_until = 0.0
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def loaded(self) -> bool:
        return self.version >= 0

    def start(self) -> None:
        self._tasks = [asyncio.ensure_future(self._watch()), asyncio.ensure_future(self._reconcile())]

    async def close(self) -> None:
        """Hands over what was used, and gives back what was leased."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        meters = list(
            {id(meter): meter for meter in [*self._touched, *self._resting, *self._meters.values()]}.values()
        )
        for meter in meters:
            meter.give_back()
        await self._push([meter for meter in meters if meter.has_changes()])
        self._threads.shutdown(wait=False, cancel_futures=True)

    def admit(self, exchange: Exchange, principal: Principal, model: str) -> "asyncio.Future[None] | None":
        """Counts the request, or raises RateLimited; or gives something to wait for before it is asked again.

        Raises LisaError (503) while limits have never been read, or a budget has not been known for too long.
        """
        key = (principal.user, principal.token_id, principal.groups, model)
        meters = self._resolved.get(key)
        if meters is None:
            meters = self._resolve(key)
        if not meters:
            return None
        now = int(self._clock())
        for meter in meters:
            if now >= meter.end:
                meter.roll(now)
            if not meter.open:
                waiting = self._closed(exchange, meter, meters, now)
                if waiting is not None:
                    return waiting
        for meter in meters:
            meter.pass_one()
            if not meter.touched:
                meter.touched = True
                self._touched.append(meter)
            if meter.granted < meter.low and meter.leasing is None and meter.max_requests:
                self._lease(meter)
        exchange.admitted = meters
        exchange.extra_headers += headers(meters, now)
        return None

    async def wait(
        self, exchange: Exchange, principal: Principal, model: str, first: "asyncio.Future[None]"
    ) -> None:
        """The rest of `admit`, for a request that has to wait."""
        waiting: asyncio.Future[None] | None = first
        while waiting is not None:
            # Others wait for the same, and one that leaves must not take it from them.
            await asyncio.shield(waiting)
            waiting = self.admit(exchange, principal, model)

    def settle(self, exchange: Exchange) -> None:
        """Sets the exchange's cost, and charges what was used to the windows that are now."""
        usage = exchange.usage
        if usage is None:
            return
        prompt, completion = usage
        price = self._prices.get(exchange.model)
        if price is not None:
            exchange.cost = price.cost(prompt, completion)
        now = int(self._clock())
        for meter in exchange.admitted:
            if now >= meter.end:
                meter.roll(now)
            meter.charge(prompt + completion, exchange.cost)
            if not meter.touched:
                meter.touched = True
                self._touched.append(meter)

    # --- Which meters

    def _resolve(self, key: _Key) -> tuple[Meter, ...]:
        if not self.loaded:
            raise LisaError(
                "The gateway does not know its limits yet; try again.",
                code="unavailable",
                status=503,
                retry_after=2,
            )
        user, token, groups, model = key
        found = []
        own = self._limits.get(limit_key("user", user)) or self._limits.get(
            limit_key("default-user", EVERYBODY)
        )
        subjects: list[tuple[SubjectType, str, Limit | None]] = [("user", user, own)]
        if token:
            subjects.append(("token", token, self._limits.get(limit_key("token", token))))
        subjects += [
            ("group", group, self._limits.get(limit_key("group", group))) for group in sorted(groups)
        ]
        subjects.append(("model", model, self._limits.get(limit_key("model", model))))
        for kind, name, limit in subjects:
            if limit is not None:
                found += [
                    self._meter(kind, name, limit, window) for window in Window if Meter.counts(limit, window)
                ]
        if len(self._resolved) >= MAX_CACHED:
            self._resolved.clear()
            # What has not been handed over is still in the lists of what was touched.
            self._meters.clear()
        meters = self._resolved[key] = tuple(found)
        return meters

    def _meter(self, kind: SubjectType, name: str, limit: Limit, window: Window) -> Meter:
        key = counter_key(kind, name), window
        meter = self._meters.get(key)
        if meter is None:
            meter = self._meters[key] = Meter(kind, name, key[0], window, int(self._clock()), limit)
        return meter

    def _replace(self, version: int, limits: list[Limit], prices: list[Price]) -> None:
        self._limits = {limit_key(limit.subject_type, limit.subject_id): limit for limit in limits}
        self._prices = {price.model_id: price for price in prices}
        self._resolved = {}
        kept = {}
        for key, meter in self._meters.items():
            limit = self._limits.get(limit_key(meter.kind, meter.name))
            if limit is None and meter.kind == "user":
                limit = self._limits.get(limit_key("default-user", EVERYBODY))
            # A lease of a limit that is lower now would let too much through.
            meter.give_back()
            self._touch(meter)
            if limit is not None and Meter.counts(limit, meter.window):
                meter.allow(limit)
                kept[key] = meter
        self._meters = kept
        self.version = version

    # --- When a meter is not simply open

    def _closed(
        self, exchange: Exchange, meter: Meter, meters: tuple[Meter, ...], now: int
    ) -> "asyncio.Future[None] | None":
        """Refuses, or gives what to wait for, or None: then it is open after all."""
        over = meter.over()
        if over is not None:
            raise refusal(exchange, meter, meters, over, now)
        moment = time.monotonic()
        down = moment < self._down_until
        if meter.totals_matter and not meter.fresh(moment):
            if not down:
                return meter.syncing or self._sync(meter)
            if meter.is_budget and moment - meter.synced_at > GRACE_SECONDS:
                raise LisaError(
                    "What is used of a budget is not known at the moment; try again.",
                    code="unavailable",
                    status=503,
                    retry_after=5,
                )
            if meter.granted <= 0:
                self._unleased(exchange, meter, meters, now)
            return None
        if meter.granted > 0:
            meter.open = not down
            return None
        if down:
            self._unleased(exchange, meter, meters, now)
            return None
        if moment < meter.exhausted_until:
            raise refusal(exchange, meter, meters, REQUESTS, now)
        meter.wanted += 1
        return meter.leasing or self._lease(meter)

    def _unleased(self, exchange: Exchange, meter: Meter, meters: tuple[Meter, ...], now: int) -> None:
        """Each gateway for itself, until the table is back: a limit of N is N for each of them."""
        if meter.admitted >= meter.max_requests:
            raise refusal(exchange, meter, meters, REQUESTS, now)
        meter.granted += 1
        meter.debt += 1

    # --- The fleet's counters

    def _lease(self, meter: Meter) -> "asyncio.Future[None]":
        meter.leasing = task = asyncio.ensure_future(self._take_lease(meter))
        return task

    async def _take_lease(self, meter: Meter) -> None:
        start, end, limit, generation = meter.start, meter.end, meter.max_requests, meter.generation
        wanted, meter.wanted = max(1, meter.wanted), 0
        try:
            granted, gone = await self._in_thread(
                lambda counters: counters.lease(
                    meter.subject, meter.window, start, end, wanted=wanted, share=meter.SHARE, limit=limit
                )
            )
        except Exception as error:
            self._failed(error)
        else:
            if meter.start == start and meter.generation == generation:
                meter.leased(granted, gone, time.monotonic() + self._tick_seconds)
                self._touch(meter)  # who waits for it comes before it counts as unused
            elif granted:
                meter.owe_back(start, end, granted)
                self._touch(meter)
        finally:
            meter.leasing = None

    def _sync(self, meter: Meter) -> "asyncio.Future[None]":
        meter.syncing = task = asyncio.ensure_future(self._push_one(meter))
        return task

    async def _watch(self) -> None:
        failing = False
        while True:
            try:
                if await self._define(lambda store: store.version()) != self.version:
                    self._replace(*await self._define(lambda store: store.everything()))
                failing = False
            except (
                Exception
            ) as error:  # whatever it is, the next look may succeed; what was read stays in force
                if not failing:
                    log.warning("limits cannot be read", extra={"reason": str(error)})
                failing = True
            await asyncio.sleep(self._poll_seconds)

    async def _reconcile(self) -> None:
        while True:
            await asyncio.sleep(self._tick_seconds)
            try:
                await self._tick()
            except Exception:
                log.exception("limits could not be reconciled")

    async def _tick(self) -> None:
        """Adds up what was used; of meters that nobody has used since the tick before, leases are given back."""
        touched, self._touched = self._touched, []
        resting, self._resting = self._resting, []
        idle = [meter for meter in resting if not meter.touched]
        for meter in idle:
            meter.give_back()
        for meter in touched:
            meter.touched = False
        self._resting = touched
        await self._push(touched + [meter for meter in idle if meter.has_changes()])

    async def _push(self, meters: list[Meter]) -> None:
        await asyncio.gather(*(meter.syncing or self._sync(meter) for meter in meters))

    async def _push_one(self, meter: Meter) -> None:
        """Hands over what this gateway has used, and learns what all have."""
        try:
            for change in meter.take_changes():
                await self._add(meter, change)
            if meter.is_budget:
                await self._warn(meter)
        finally:
            meter.syncing = None
            if meter.has_changes():
                self._touch(meter)

    async def _add(self, meter: Meter, change: Change) -> None:
        start, end, requests, tokens, cost = change
        leases = meter.leases
        try:
            totals = await self._in_thread(
                lambda counters: counters.add(
                    meter.subject, meter.window, start, end, requests=requests, tokens=tokens, cost=cost
                )
            )
        except Exception as error:
            meter.keep(change)
            self._failed(error)
        else:
            self._recovered()
            if start == meter.start:
                meter.learn(totals, time.monotonic(), leases)

    async def _warn(self, meter: Meter) -> None:
        for amount, used in meter.budgets():
            allowed = meter.limit.amounts[amount.name]
            if used * MILLION >= allowed * meter.limit.warn_at:
                await self._say(meter, WARNING, amount, used)
            if used >= allowed:
                await self._say(meter, EXHAUSTED, amount, used)

    async def _say(self, meter: Meter, detail_type: DetailType, amount: Amount, used: int) -> None:
        """Writes a warning down, unless this or another gateway has."""
        allowed = meter.limit.amounts[amount.name]
        key = f"{detail_type}#{meter.subject}#{amount.name}#{meter.start}#{allowed}"
        if key in meter.said:
            return
        row = alert_row(
            detail_type,
            subject_type=meter.kind,
            subject_id=meter.name,
            amount=amount,
            allowed=allowed,
            used=used,
            window=(meter.start, meter.end),
            now=int(self._clock()),
        )
        expires = meter.end + KEEP_SECONDS
        try:
            await self._in_thread(lambda counters: counters.alert(key, row, expires=expires))
        except Exception as error:  # the next one who looks tries again
            self._failed(error)
        else:
            meter.said.add(key)

    def _touch(self, meter: Meter) -> None:
        if not meter.touched:
            meter.touched = True
            self._touched.append(meter)

    def _failed(self, error: Exception) -> None:
        if not self._down_until:
            log.warning("the limits table cannot be reached", extra={"reason": str(error)})
        self._down_until = time.monotonic() + RETRY_SECONDS

    def _recovered(self) -> None:
        if self._down_until:
            log.info("the limits table can be reached again")
        self._down_until = 0.0

    def _open(self) -> tuple[Definitions, Counters]:
        if self._tables is None:
            self._tables = self._open_tables()
        return self._tables

    async def _in_thread(self, work: Callable[[Counters], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: work(self._open()[1]))

    async def _define(self, work: Callable[[Definitions], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: work(self._open()[0]))
