import json

import pytest
from lisa import aws
from lisa.usage.store import UsageStore

from tests.unit.functions.conftest import USAGE_TABLE, Context
from tests.unit.functions.samples import sample


@pytest.fixture
def store(account):
    return UsageStore(USAGE_TABLE, aws.dynamodb())


def emf(text):
    """What CloudWatch makes of the log."""
    found = [json.loads(line) for line in text.splitlines() if line.startswith('{"_aws"')]
    return [{name: value for name, value in line.items() if name != "_aws"} for line in found]


def test_the_sample_is_recorded_and_measured_once_however_often_it_comes(invoke, store, capsys):
    # When it is delivered three times
    for _ in range(3):
        assert invoke("usage_record", sample("usage_record")) == {"batchItemFailures": []}

    # Then
    total = store.user("alice")
    assert (total.counters.requests, total.counters.prompt_tokens, total.counters.completion_tokens) == (
        2,
        31,
        12,
    )
    assert total.groups == ("team-a", "user")
    (measured,) = emf(capsys.readouterr().out)
    assert measured == {
        "service": "usage",
        "Deployment": "lisa",
        "Model": "smollm2-135m",
        "Requests": [2.0],
        "Errors": [0.0],
        "Refused": [0.0],
        "PromptTokens": [31.0],
        "CompletionTokens": [12.0],
        "Cost": [0.00012],
        "Latency": [420.1, 419.9],
        "TimeToFirstToken": [55.2],
    }


@pytest.mark.parametrize(
    "body",
    [
        "not json",
        "{}",
        json.dumps({"id": "0" * 32, "entries": []}),
        json.dumps({"id": "0" * 32, "version": 2, "entries": [{"by": "user"}]}),
        json.dumps({"id": "BATCH#x", "entries": json.loads(sample("usage_record")["Records"][0]["body"])}),
    ],
)
def test_of_a_batch_only_what_cannot_be_recorded_comes_back(load, store, body):
    # Given one message that no version of ours has written, among a good one
    event = sample("usage_record")
    (good,) = event["Records"]
    event["Records"] = [good | {"messageId": "poisoned", "body": body}, good]

    # When
    answer = load("usage_record").handler(event, Context())

    # Then
    assert answer == {"batchItemFailures": [{"itemIdentifier": "poisoned"}]}
    assert store.user("alice").counters.requests == 2


def test_a_negative_count_is_refused(load, store):
    event = sample("usage_record")
    body = json.loads(event["Records"][0]["body"])
    body["entries"][0]["promptTokens"] = -1
    event["Records"][0]["body"] = json.dumps(body)
    assert load("usage_record").handler(event, Context())["batchItemFailures"]
    assert store.user("alice") is None
