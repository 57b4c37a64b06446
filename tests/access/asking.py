"""Asks every cell of a matrix through a few connections that stay open."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from tests.access.callers import Cell

THREADS = 6


class Client:
    """Plain HTTP to one port, a connection for each thread."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connections = threading.local()

    def ask(self, method: str, path: str, headers: dict[str, str], body: bytes | None) -> tuple[int, bytes]:
        connection = getattr(self._connections, "open", None)
        for attempt in (1, 2):
            if connection is None:
                connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
            try:
                connection.request(method, path, body=body, headers={"Accept": "*/*"} | headers)
                response = connection.getresponse()
                answer = response.status, response.read()
            except (http.client.RemoteDisconnected, ConnectionError):
                # The server closed the idle connection; a second time it is a fault.
                connection.close()
                connection = None
                if attempt == 2:
                    raise
                continue
            self._connections.open = connection
            return answer
        raise AssertionError("unreachable")


def complaints(client: Client, cells: Iterable[Cell]) -> list[str]:
    """What is wrong, a line for each cell that did not answer as the policy says."""

    def ask(cell: Cell) -> str | None:
        sample = cell.sample
        return cell.complaint(*client.ask(cell.rule.method, sample.path, cell.headers, sample.body))

    with ThreadPoolExecutor(THREADS) as threads:
        return [complaint for complaint in threads.map(ask, cells) if complaint is not None]
