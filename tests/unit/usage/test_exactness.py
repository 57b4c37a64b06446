"""Ten thousand requests from eight gateways, with lost answers, duplicates and kills everywhere: the exact totals."""

import json
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import boto3
import pytest
from lisa.usage.message import Message
from lisa.usage.store import UsageStore

from tests.unit.tables import create_table

HERE = Path(__file__).parent
WRITERS, RECORDS = 8, 1250
NAMES = ("requests", "succeeded", "refused", "prompt_tokens", "completion_tokens", "cost")


class Programs:
    """Processes whose lines come into one queue, each with its process; None when one has ended."""

    def __init__(self, environment):
        self.environment = environment
        self.lines = queue.Queue()
        self.all = []

    def start(self, *command):
        process = subprocess.Popen(
            [sys.executable, *map(str, command)],
            env=self.environment,
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        self.all.append(process)
        threading.Thread(target=self._read, args=(process,), daemon=True).start()
        return process

    def _read(self, process):
        for line in process.stdout:
            if not line.startswith("{"):  # the function's log
                self.lines.put((process, line.strip()))
        self.lines.put((process, None))

    def close(self):
        for process in self.all:
            process.kill()
            process.wait()


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """The emulator as a process of its own, without IAM, and an environment for programs that use it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LISA_"))}
    environment = kept | {
        "HOME": str(tmp_path), "GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "LOG_LEVEL": "WARNING",
        "IOT_MTLS_ENABLED": "0", "SFTP_ENABLED": "0",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        "LISA_USAGE_TABLE": "usage", "POWERTOOLS_TRACE_DISABLED": "true",
    }  # fmt: skip
    found = Programs(environment)
    emulator = found.start("-m", "ministack")
    try:
        while True:
            assert emulator.poll() is None
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield found
    finally:
        found.close()


@pytest.mark.timeout(240)
def test_every_request_that_was_handed_over_is_counted_once(programs, tmp_path):
    # Given a table, a queue, and a function that is killed again and again
    names = ("aws_access_key_id", "aws_secret_access_key")
    keys = dict.fromkeys(names, "test") | {"region_name": "us-east-1"}
    endpoint = programs.environment["AWS_ENDPOINT_URL"]
    dynamodb = boto3.client("dynamodb", endpoint_url=endpoint, **keys)
    create_table(dynamodb, "usage")
    sqs = boto3.client("sqs", endpoint_url=endpoint, **keys)
    url = sqs.create_queue(QueueName="usage", Attributes={"VisibilityTimeout": "3"})["QueueUrl"]

    def poller():
        return programs.start(HERE / "poller.py", endpoint, url)

    def writer(number):
        journal = tmp_path / f"journal{number}"
        return programs.start(HERE / "writer.py", endpoint, url, journal, number, RECORDS)

    pollers = {poller() for _ in range(3)}
    writers = {writer(number): number for number in range(WRITERS)}
    started, killed_pollers, killed_writers, recordings = WRITERS, 0, 0, 0
    flushes = Counter()

    # When all run, until all is written and the queue is empty
    while writers or not _is_empty(sqs, url):
        process, line = programs.lines.get(timeout=60)
        if line is None:
            continue
        if line == "recording":
            recordings += 1
            if killed_pollers < 6 and recordings % 3 == 0 and process in pollers:
                process.kill()  # in the middle of a batch
                pollers.remove(process)
                pollers.add(poller())
                killed_pollers += 1
        elif line == "flushed":
            flushes[process] += 1
            if killed_writers < 3 and flushes[process] == 6 and process in writers:
                process.kill()  # another one takes its place
                process.wait()
                del writers[process]
                writers[writer(started)] = started
                started += 1
                killed_writers += 1
        elif line == "done":
            assert process.wait() == 0
            writers.pop(process)
    assert (killed_pollers, killed_writers) == (6, 3)

    # Then the table holds what the journals say: all that was taken; of what was under way when a writer was
    # killed, what has reached the queue
    expected, ever = _expected(tmp_path, dynamodb)
    assert sum(
        count["requests"] for (of, by, *_), count in expected.items() if of is None and by == "model"
    ) >= (WRITERS * RECORDS)
    store = UsageStore("usage", dynamodb)
    days = sorted({hour[:10] for *_, hour in expected})
    for granularity, length in (("hour", 13), ("day", 10)):
        wanted: dict[tuple, Counter] = {}
        for (of, by, value, hour), count in expected.items():
            wanted.setdefault((of, by, value, hour[:length]), Counter()).update(count)
        found = {
            (of, by, total.value, total.period): _counted(total)
            for of, by in {key[:2] for key in wanted}
            for total in store.totals(of, by, granularity, days[0], days[-1])
        }
        assert found == wanted
    assert {total.value: _counted(total) for total in store.users()} == ever


def _is_empty(sqs, url):
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return not any(int(count) for count in attributes.values())


def _counted(total):
    return Counter({name: count for name in NAMES if (count := getattr(total.counters, name))})


def _expected(folder, dynamodb):
    expected: dict[tuple, Counter] = {}
    ever: dict[str, Counter] = {}
    sent, taken = {}, set()
    for journal in folder.glob("journal*"):
        for line in journal.read_text().splitlines():
            word, _, rest = line.partition(" ")
            if word == "taken":
                taken.add(rest)
            elif rest.endswith("}"):  # else it was killed while it wrote this, before it sent it
                message = Message.model_validate(json.loads(rest))
                sent[message.id] = message
    for message_id, message in sent.items():
        marker = {"pk": {"S": f"BATCH#{message_id}"}, "sk": {"S": "RECORDED"}}
        recorded = "Item" in dynamodb.get_item(TableName="usage", Key=marker)
        if message_id in taken:
            assert recorded, "a message that the queue had taken is lost"
        if not recorded:
            continue
        for entry in message.entries:
            count = Counter({name: getattr(entry, name) for name in NAMES if getattr(entry, name)})
            expected.setdefault((entry.of, entry.by, entry.value, entry.hour), Counter()).update(count)
            if entry.by == "user":
                ever.setdefault(entry.value, Counter()).update(count)
    return expected, ever
