"""Lambda's poller of a queue, with the function in the same process: `poller.py ENDPOINT QUEUE`.

Prints a line before each call of the function, and one when the queue was empty.
"""

import importlib.util
import sys
from pathlib import Path

import boto3


def main():
    endpoint, url = sys.argv[1:]
    path = Path(__file__).parents[3] / "functions" / "usage_record" / "app.py"
    spec = importlib.util.spec_from_file_location("usage_record", path)
    function = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(function)
    sqs = boto3.client("sqs", endpoint_url=endpoint)
    while True:
        messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=5, WaitTimeSeconds=1).get(
            "Messages", []
        )
        print("recording" if messages else "empty", flush=True)
        if not messages:
            continue
        records = [
            {"messageId": each["MessageId"], "body": each["Body"], "eventSource": "aws:sqs"}
            for each in messages
        ]
        answer = function.handler({"Records": records}, None)
        failed = {each["itemIdentifier"] for each in answer["batchItemFailures"]}
        for each in messages:
            if each["MessageId"] not in failed:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])


main()
