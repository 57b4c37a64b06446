"""Starts components in the order of their needs, restarts what dies, stops them in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO, Any

import aiohttp
import psutil

from lisa_local import processes
from lisa_local.home import Home
from lisa_local.supervisor import logfiles

logger = logging.getLogger("supervisor")

START_SECONDS = 60.0
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
# A component that ran this long was well: its next failure is a first one again.
STEADY_SECONDS = 30.0
COMPONENT_VARIABLE = "LISA_COMPONENT"


@dataclass(frozen=True)
class Component:
    """A program in the foreground that prints `ready` and ends on SIGTERM."""

    name: str
    command: tuple[str, ...]
    needs: tuple[str, ...] = ()
    stop_seconds: float = 10.0
    start_seconds: float = START_SECONDS


@dataclass
class Service:
    """A component and what became of it."""

    component: Component
    state: str = "waiting"
    process: asyncio.subprocess.Process | None = None
    starts: int = 0
    failures: int = 0
    ever_ready: bool = False
    since: float = field(default_factory=time.time)
    last_exit: int | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)

    def become(self, state: str) -> None:
        self.state, self.since = state, time.time()
        logger.info("%s: %s", self.component.name, state)
        if state == "ready":
            self.ever_ready = True
            self.ready.set()
        else:
            self.ready.clear()

    def report(self) -> dict[str, Any]:
        return {
            "state": self.state,
            "pid": self.process.pid if self.process and self.process.returncode is None else None,
            "restarts": max(0, self.starts - 1),
            "failures": self.failures,
            "ever_ready": self.ever_ready,
            "since": self.since,
            "last_exit": self.last_exit,
        }


class Supervisor:
    def __init__(self, home: Home, components: Sequence[Component], environment: dict[str, str]) -> None:
        self._home = home
        self._environment = environment
        self._services = {component.name: Service(component) for component in components}
        self._stop = asyncio.Event()
        # Held between fork and the note of the new process, lest it be taken for an orphan.
        self._spawning = asyncio.Lock()

    async def run(self) -> None:
        """Run until a signal or the control socket says stop; returns when every process has ended."""
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stdout)
        self._home.create()
        self._home.temporary.mkdir(exist_ok=True)
        loop = asyncio.get_running_loop()
        for sign in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(sign, self._stop.set)
        self._home.supervisor_socket.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._control, path=self._home.supervisor_socket)
        runners = [asyncio.create_task(self._keep_running(service)) for service in self._services.values()]
        housekeeping = asyncio.create_task(self._rotate_logs())
        async with server:
            await self._stop.wait()
            await self._stop_services(runners)
            housekeeping.cancel()
        self._home.supervisor_socket.unlink(missing_ok=True)

    # One component

    async def _keep_running(self, service: Service) -> None:
        pause = FIRST_PAUSE
        while True:
            for need in service.component.needs:
                await self._services[need].ready.wait()
            if service.component.name == "emulator" and service.starts:
                await self._clear_engine()
            started = time.monotonic()
            await self._run_once(service)
            service.failures += 1
            if time.monotonic() - started > STEADY_SECONDS:
                pause = FIRST_PAUSE
            service.become("restarting")
            await self._end_orphans(service.component.name)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _run_once(self, service: Service) -> None:
        component = service.component
        log_path = self._home.logs / f"{component.name}.log"
        with log_path.open("ab") as log:
            offset = log.tell()
            async with self._spawning:
                service.process = await self._spawn(component, log)
        service.starts += 1
        service.become("starting")
        ready = asyncio.create_task(self._wait_for_ready(service, log_path, offset))
        service.last_exit = await service.process.wait()
        ready.cancel()
        logger.info("%s ended with %s", component.name, service.last_exit)

    async def _spawn(self, component: Component, log: IO[bytes]) -> asyncio.subprocess.Process:
        supervisor = os.getpid()

        def in_child() -> None:
            processes.die_with_parent()
            if os.getppid() != supervisor:  # it died between fork and prctl
                os._exit(1)

        return await asyncio.create_subprocess_exec(
            *component.command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**self._environment, COMPONENT_VARIABLE: component.name},
            start_new_session=True,
            preexec_fn=in_child,
        )

    async def _wait_for_ready(self, service: Service, log_path: Any, offset: int) -> None:
        start_seconds = service.component.start_seconds
        deadline = time.monotonic() + start_seconds
        while not logfiles.has_line(log_path, "ready", offset):
            if time.monotonic() > deadline:
                logger.warning("%s is not ready after %.0f s", service.component.name, start_seconds)
                if service.process:
                    service.process.kill()
                return
            await asyncio.sleep(0.05)
        service.become("ready")

    async def _clear_engine(self) -> None:
        """A new emulator knows nothing of the containers of the last one: it starts its services afresh."""
        connector = aiohttp.UnixConnector(str(self._home.engine_socket))
        timeout = aiohttp.ClientTimeout(total=15)
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
                session.post("http://engine/_lisa/clear") as answer,
            ):
                answer.raise_for_status()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            logger.warning("the engine did not clear its containers (%s): it is restarted", error)
            engine = self._services["engine"]
            if engine.process and engine.process.returncode is None:
                engine.process.kill()
                await engine.process.wait()
                # Its runner notes the end only when it runs next; what follows must not see the old `ready`.
                engine.ready.clear()
            await engine.ready.wait()

    async def _end_orphans(self, component: str | None = None) -> None:
        """End what a component that died left behind (None: any); as subreaper this process is their parent now.

        Functions and containers have an environment of their own, without a component's name.
        """
        async with self._spawning:
            known = {service.process.pid for service in self._services.values() if service.process}
            for child in psutil.Process().children():
                if child.pid in known or (component and _component_of(child) not in (component, None)):
                    continue
                for process in processes.tree(child.pid):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
                with contextlib.suppress(ChildProcessError):
                    await asyncio.to_thread(os.waitpid, child.pid, 0)

    # All of them

    async def _stop_services(self, runners: list[asyncio.Task[None]]) -> None:
        for runner in runners:
            runner.cancel()
        await asyncio.gather(*runners, return_exceptions=True)
        everything = psutil.Process().children(recursive=True)
        for service in reversed(self._services.values()):
            process = service.process
            if process is None or process.returncode is not None:
                service.become("stopped")
                continue
            service.become("stopping")
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                service.last_exit = await asyncio.wait_for(process.wait(), service.component.stop_seconds)
            except TimeoutError:
                logger.warning(
                    "%s did not stop in %.0f s: killed",
                    service.component.name,
                    service.component.stop_seconds,
                )
                process.kill()
                service.last_exit = await process.wait()
            service.become("stopped")
            await self._end_orphans(service.component.name)
        await self._end_orphans()
        # Who sees the supervisor gone may rely on it that all are gone, those still on their way out too.
        await asyncio.to_thread(processes.end, everything, grace=2)

    async def _rotate_logs(self) -> None:
        while True:
            for path in self._home.logs.glob("*.log"):
                logfiles.rotate(path)
            await asyncio.sleep(10)

    # Control socket: one JSON object a line, one answer a request

    async def _control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            request = json.loads(await reader.readline() or b"{}")
            if request.get("do") == "stop":
                self._stop.set()
            answer = {
                "pid": os.getpid(),
                "stopping": self._stop.is_set(),
                "components": {name: service.report() for name, service in self._services.items()},
            }
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        writer.close()


def _component_of(process: psutil.Process) -> str | None:
    with contextlib.suppress(psutil.Error):
        return process.environ().get(COMPONENT_VARIABLE)
    return None
