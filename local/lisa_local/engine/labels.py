"""Labels by which a container's creator tells the engine more than Docker's API can say."""

READY_PORT = "lisa.ready-port"
"""A start answers once this port of the container accepts connections."""

READY_PATH = "lisa.ready-path"
"""A start answers once a GET of this path, on that port, answers 2xx."""

READY_SECONDS = "lisa.ready-seconds"
"""A start waits this long at most."""

STOP_SECONDS = "lisa.stop-seconds"
"""A stop gives the container at least this long before it is killed."""
