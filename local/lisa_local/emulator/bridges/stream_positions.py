"""After a restart, functions go on with the first new record of a table's stream.

The emulator keeps how far each event source mapping has read, but not the records: those of the new process are
counted from the start again, so as many as had been read before would pass unseen.
"""

from __future__ import annotations

from typing import Any

from ministack.services import lambda_svc

from lisa_local.emulator.bridges.seams import Bridge, Context, original, replace


def install(_: Context) -> None:
    positions = original(lambda_svc, "_dynamodb_stream_positions")
    restore = original(lambda_svc, "_restore_esm_positions")

    def restore_from_the_start(store: Any, kept: Any) -> None:
        restore(store, kept)
        if store is positions:
            for key in list(store._data):
                # Nothing that this process holds has been read, whatever the mapping's StartingPosition.
                store._data[key] = 0

    replace(lambda_svc, "_restore_esm_positions", restore_from_the_start)


BRIDGE = Bridge("stream_positions", "streams are read on after a restart", install)
