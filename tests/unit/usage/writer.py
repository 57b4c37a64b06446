"""A gateway's recorder as a process of its own: `writer.py ENDPOINT QUEUE JOURNAL NUMBER RECORDS`.

The journal has a line for each message before it is sent, and one once it has been taken. Some answers are lost, so
that messages are sent again. Prints a line for each flush.
"""

import os
import random
import sys
import time

import boto3
from lisa.identity import Principal
from lisa_gateway.usage import SqsQueue, UsageRecorder


class Journalled:
    def __init__(self, queue, journal):
        self.queue, self.journal = queue, journal

    def send(self, messages):
        for message in messages:
            self.write(f"sending {message.encode()}")
        taken = self.queue.send(messages)
        for message_id in taken:
            self.write(f"taken {message_id}")
        if random.random() < 0.3:
            raise TimeoutError("this answer was lost")
        return taken

    def write(self, line):
        os.write(self.journal, line.encode() + b"\n")  # outlives the process


def main():
    endpoint, url, journal, number, records = sys.argv[1:]
    client = boto3.client("sqs", endpoint_url=endpoint)
    queue = Journalled(SqsQueue(url, client), os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT))
    recorder = UsageRecorder(lambda: queue)
    people = [
        Principal(
            f"user{(int(number) + each) % 6}",
            frozenset({"all", f"team{each % 2}"}),
            False,
            0.0,
            token_id=token,
        )
        for each in range(3)
        for token in ("", f"token{each}")
    ]
    for at in range(int(records)):
        usage, status = ((at % 7, at % 11), 200) if at % 10 else (None, 429)
        recorder.add(
            (time.perf_counter(), people[at % 6], f"model{at % 2}", status, 0.01, 0.0, usage, at % 3, False)
        )
        if at % 100 == 99:
            recorder.flush()
            print("flushed", flush=True)
    while not recorder.flush():
        pass
    print("done", flush=True)


main()
