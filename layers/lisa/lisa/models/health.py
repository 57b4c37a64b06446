"""Whether a model answers: asked of the model itself, through the load balancer that its callers use."""

import http.client
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 3.0


def answers(base_url: str, host_header: str, path: str) -> bool:
    """Whether `GET path` answers 200. A load balancer's own word is not enough: its targets lag behind."""
    url = urlsplit(base_url)
    connection = http.client.HTTPConnection(url.hostname or "", url.port or 80, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", path, headers={"Host": host_header, "Connection": "close"})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
