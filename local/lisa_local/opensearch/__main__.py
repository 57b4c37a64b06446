"""`python -m lisa_local.opensearch STATE_FOLDER`: run OpenSearch until SIGTERM; ends when OpenSearch does."""

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
from lisa_local.opensearch.node import Node


async def run(settings: Settings) -> int:
    stopping = stop_event()
    node = Node(settings.home / "opensearch", port=settings.opensearch_port, heap=settings.opensearch_heap)
    node.start()
    asked = asyncio.create_task(stopping.wait())
    ready = asyncio.create_task(asyncio.to_thread(node.wait_until_ready))
    ended = asyncio.create_task(asyncio.to_thread(node.process.wait))
    try:
        await asyncio.wait((asked, ready), return_when=asyncio.FIRST_COMPLETED)
        if ready.done():
            ready.result()
            announce_ready()
            await asyncio.wait((asked, ended), return_when=asyncio.FIRST_COMPLETED)
        failed = ended.done()
    finally:
        # In a thread: the loop must not wait for the server here while it reads the server's last line.
        await asyncio.to_thread(node.stop)
        asked.cancel()
    if failed:
        sys.stderr.write(f"opensearch: the server ended by itself with code {ended.result()}\n")
        return 1
    return 0


def main() -> None:
    settings = settings_from_arguments("opensearch")
    os.umask(0o077)
    configure_logging()
    try:
        code = asyncio.run(run(settings))
    except ComponentError as error:
        sys.exit(f"opensearch: {error}")
    # A thread may still wait for the server's first line: nothing depends on it.
    os._exit(code)


if __name__ == "__main__":
    main()
