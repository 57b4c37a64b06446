"""`python -m lisa_local.engine STATE_FOLDER`: run containers until SIGTERM, then end them all."""

import asyncio
import os
import sys

from lisa_local.component import (
    ComponentError,
    Settings,
    announce_ready,
    configure_logging,
    settings_from_arguments,
    stop_event,
)
from lisa_local.engine import api
from lisa_local.engine.store import Store


async def serve(settings: Settings) -> None:
    stopping = stop_event()
    store = Store(settings)
    store.end_leftovers()
    runner = await api.start(store, settings.engine_socket)
    announce_ready()
    await stopping.wait()
    store.close()
    await store.clear()
    await runner.cleanup()
    settings.engine_socket.unlink(missing_ok=True)


def main() -> None:
    settings = settings_from_arguments("engine")
    os.umask(0o077)
    configure_logging()
    try:
        asyncio.run(serve(settings))
    except ComponentError as error:
        sys.exit(f"engine: {error}")


if __name__ == "__main__":
    main()
