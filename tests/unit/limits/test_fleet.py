"""Several gateways, each a process of its own, before one table: a limit of N lets N through."""

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import psutil
import pytest
from lisa.limits.counters import CounterStore
from lisa.limits.record import Limit, counter_key
from lisa.limits.store import LimitStore
from lisa.limits.windows import Window

from tests.unit.tables import create_table

ROOT = Path(__file__).parents[3]
TABLE, NOW = "limits", 1_700_049_600
BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hello"}]})


class Fleet:
    def __init__(self, environment: dict[str, str], client) -> None:
        self.environment = environment
        self.limits, self.counters = LimitStore(TABLE, client), CounterStore(TABLE, client)
        self.processes: list[subprocess.Popen[str]] = []
        self.gateways: list[dict] = []

    def start(self, count: int) -> None:
        self.processes += [
            subprocess.Popen(
                [sys.executable, "-m", "tests.unit.limits.gateway", TABLE, str(NOW)],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(count)
        ]
        self.gateways = [json.loads(process.stdout.readline()) for process in self.processes]

    def call(self, number: int) -> int:
        """The status of one call of a gateway; 0 when it is not there."""
        gateway = self.gateways[number % len(self.gateways)]
        connection = http.client.HTTPConnection("127.0.0.1", gateway["port"], timeout=30)
        try:
            connection.request(
                "POST",
                "/v1/chat/completions",
                BODY,
                {"Authorization": f"Bearer {gateway['token']}"},
            )
            answer = connection.getresponse()
            answer.read()
        except OSError:
            return 0
        else:
            return answer.status
        finally:
            connection.close()

    def hammer(self, calls: int, clients: int = 12) -> list[int]:
        with ThreadPoolExecutor(clients) as pool:
            return list(pool.map(self.call, range(calls)))

    def until(self, passed: int, most: int, within: float = 30) -> int:
        """Calls on until `most` have passed in all; how many then have, of which `passed` had before."""
        deadline = time.monotonic() + within
        while passed < most and time.monotonic() < deadline:
            passed += self.hammer(6).count(200)
        return passed

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()


@pytest.fixture
def fleet(tmp_path, monkeypatch) -> Iterator[Fleet]:
    """The emulator as a process of its own, and a table in it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LISA_"))}
    environment = kept | {
        "HOME": str(tmp_path), "GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "LOG_LEVEL": "WARNING",
        "IOT_MTLS_ENABLED": "0", "SFTP_ENABLED": "0", "AWS_ENDPOINT_URL": url, "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
    }  # fmt: skip
    emulator = subprocess.Popen(
        [sys.executable, "-m", "ministack.app"],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    client = boto3.client(
        "dynamodb",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    found = Fleet(environment, client)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < deadline
                assert emulator.poll() is None
                threading.Event().wait(0.05)
        create_table(client, TABLE)
        yield found
    finally:
        found.close()
        emulator.kill()
        emulator.wait()


@pytest.mark.timeout(240)
def test_two_gateways_let_exactly_the_limit_through(fleet):
    # Given
    fleet.limits.put_limit(Limit("user", "alice", {"requestsPerMinute": 100}))
    fleet.start(2)

    # When many clients call both, far more often than they may
    statuses = fleet.hammer(260)

    # Then all is let through, if need be after leases that one did not use have come back, and never more
    assert set(statuses) <= {200, 429}
    assert fleet.until(statuses.count(200), 100) == 100
    assert set(fleet.hammer(60)) == {429}


@pytest.mark.timeout(240)
def test_three_gateways_of_which_one_is_killed_never_let_more_through(fleet):
    # Given
    fleet.limits.put_limit(Limit("user", "alice", {"requestsPerMinute": 90}))
    fleet.start(3)
    killed = threading.Timer(0.3, lambda: psutil.Process(fleet.gateways[0]["pid"]).kill())
    killed.start()

    # When
    statuses = fleet.hammer(300)
    killed.join()

    # Then what was leased to the killed one is lost until the window ends, which is 3/16 of the limit at most, beside
    # what it was answering; and nothing is let through that is not there
    passed = fleet.until(statuses.count(200), 90, within=6)
    assert 90 - 90 * 3 // 16 - statuses.count(0) <= passed <= 90
    assert set(fleet.hammer(30)) <= {429, 0}


@pytest.mark.timeout(240)
def test_tokens_of_two_gateways_add_up_and_overshoot_by_what_is_under_way_at_most(fleet):
    # Given calls of 10 tokens
    fleet.limits.put_limit(Limit("user", "alice", {"tokensPerDay": 300}))
    fleet.start(2)

    # When calls come one after the other, each time from the other gateway
    statuses: list[int] = []
    deadline = time.monotonic() + 60
    while statuses[-4:] != [429] * 4 and time.monotonic() < deadline:
        statuses.append(fleet.call(len(statuses)))

    # Then the total is what was let through, exactly
    passed = statuses.count(200)
    start, _ = Window.DAY.bounds(NOW)
    deadline = time.monotonic() + 20
    while fleet.counters.read(counter_key("user", "alice"), Window.DAY, start).tokens < 10 * passed:
        assert time.monotonic() < deadline
    assert fleet.counters.read(counter_key("user", "alice"), Window.DAY, start).tokens == 10 * passed

    # Then no gateway passed the limit by itself: each knew its own calls at once
    assert 30 <= passed <= 60
