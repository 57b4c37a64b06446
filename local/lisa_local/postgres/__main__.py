"""`python -m lisa_local.postgres STATE_FOLDER`: run PostgreSQL until SIGTERM; ends when PostgreSQL does."""

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
from lisa_local.postgres import cluster
from lisa_local.postgres.account import Account
from lisa_local.postgres.server import Server


async def run(settings: Settings) -> int:
    stopping = stop_event()
    account = Account.choose(settings.home / "postgres")
    credentials = cluster.prepare(settings, account)
    server = Server(settings, account, credentials, cluster.retrieval(settings))
    server.end_leftovers()
    server.start()
    ended = asyncio.create_task(server.ended())
    asked = asyncio.create_task(stopping.wait())
    prepared = asyncio.create_task(asyncio.to_thread(server.prepare))
    try:
        await asyncio.wait((ended, asked, prepared), return_when=asyncio.FIRST_COMPLETED)
        if prepared.done():
            prepared.result()
            announce_ready()
            await asyncio.wait((ended, asked), return_when=asyncio.FIRST_COMPLETED)
    finally:
        failed = ended.done()
        server.stop()
        asked.cancel()
    if failed:
        sys.stderr.write(f"postgres: the server ended by itself with code {ended.result()}\n")
        return 1
    return 0


def main() -> None:
    settings = settings_from_arguments("postgres")
    os.umask(0o077)
    configure_logging()
    try:
        code = asyncio.run(run(settings))
    except ComponentError as error:
        sys.exit(f"postgres: {error}")
    # A connection attempt may still be pending in a thread: nothing is left to wait for.
    os._exit(code)


if __name__ == "__main__":
    main()
