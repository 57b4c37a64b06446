"""`python -m lisa_local.door STATE_FOLDER`: serve the front door and all load balancers until SIGTERM."""

import asyncio
import sys

import uvloop

from lisa_local.component import (
    ComponentError,
    Settings,
    announce_ready,
    configure_logging,
    settings_from_arguments,
    stop_event,
)
from lisa_local.door.catalogue import Catalogue
from lisa_local.door.deployment import DeploymentFile
from lisa_local.door.front import Front
from lisa_local.door.health import HealthChecker
from lisa_local.door.listeners import Listeners, open_port
from lisa_local.door.proxy import Proxy


async def serve(settings: Settings) -> None:
    stopping = stop_event()
    proxy = Proxy()
    catalogue = Catalogue(settings.emulator_socket, HealthChecker())
    listeners = Listeners(catalogue, proxy)
    front = Front(settings, DeploymentFile(settings.deployment), catalogue, proxy)
    try:
        await catalogue.refresh()
        runner = await open_port(front.handle, "127.0.0.1", settings.door_port)
        tasks = [asyncio.create_task(catalogue.run()), asyncio.create_task(listeners.run())]
        announce_ready()
        await stopping.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await runner.cleanup()
    finally:
        await listeners.close()
        await catalogue.close()
        await proxy.close()


def main() -> None:
    settings = settings_from_arguments("door")
    configure_logging()
    try:
        uvloop.run(serve(settings))
    except ComponentError as error:
        sys.exit(f"door: {error}")


if __name__ == "__main__":
    main()
