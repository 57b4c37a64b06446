"""`python -m lisa_local.emulator STATE_FOLDER`: serve the emulator until SIGTERM."""

import asyncio
import os
import sys

from lisa_local.component import ComponentError, configure_logging, settings_from_arguments
from lisa_local.emulator import environment, generations


def main() -> None:
    settings = settings_from_arguments("emulator")
    os.umask(0o077)  # state files hold keys
    configure_logging()
    try:
        environment.enter(settings)
        generations.recover(environment.state_folder(settings))
        # Imported late: the emulator reads its environment and its stored objects when it is imported.
        from lisa_local.emulator.host import serve

        asyncio.run(serve(settings))
    except ComponentError as error:
        sys.exit(f"emulator: {error}")


if __name__ == "__main__":
    main()
