"""What the container's health check runs: is the gateway alive? Nothing but the standard library is loaded."""

import http.client
import os
import sys


def main() -> int:
    """0 when `/health/liveliness` answers 200, else 1."""
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ.get("PORT") or 4000), timeout=2)
    try:
        connection.request("GET", "/health/liveliness")
        return 0 if connection.getresponse().status == 200 else 1
    except OSError:
        return 1
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
