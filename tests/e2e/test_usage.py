"""What people use shows up as what they used, and survives whatever is killed."""

import csv
import io
import os
import signal
import time

import psutil
import pytest

from tests.cloud import CHAT_MODEL, eventually
from tests.e2e.conftest import http

pytestmark = pytest.mark.cloud
WITHIN = 30


def used(api, user="alice", **query):
    words = "&".join(f"{name}={value}" for name, value in {"groupBy": "day", **query}.items())
    answer = api.call("GET", f"/metrics/users/{user}?{words}")
    assert answer.status == 200, answer
    assert answer.body["statusCode"] == 200
    return answer.body["body"][user]


def ever(api, user="alice"):
    mine = used(api, user)
    return mine["totalPrompts"], mine["promptTokens"], mine["completionTokens"]


def settled(client, api):
    """What was used ever, once nothing more comes of what ran before."""
    # The function may have to start first: then what is on its way takes longer.
    before = ever(api)
    chat(client)
    eventually("a chat recorded", lambda: ever(api) != before, within=WITHIN)
    seen = [ever(api)]

    def still():
        time.sleep(3)  # longer than it takes from the gateway to the table
        seen.append(ever(api))
        return seen[-1] == seen[-2]

    eventually("usage of earlier tests recorded", still, within=WITHIN)
    return seen[-1]


def chat(client, **fields):
    return client.chat.completions.create(
        model=CHAT_MODEL,
        messages=[{"role": "user", "content": "Count to ten."}],
        max_tokens=8,
        temperature=0,
        **fields,
    )


def test_the_tokens_are_exactly_those_that_clients_were_told(client, alice):
    # Given
    before = settled(client, alice)

    # When
    answer = chat(client)
    told = [answer.usage]
    for asked in (None, {"include_usage": True}):
        chunks = list(chat(client, stream=True, **({"stream_options": asked} if asked else {})))
        told += [each.usage for each in chunks if each.usage is not None]
    assert len(told) == 2
    # The stream without usage is the same question: it has as many tokens as the one with.
    prompt = told[0].prompt_tokens + 2 * told[1].prompt_tokens
    made = told[0].completion_tokens + 2 * told[1].completion_tokens

    # Then
    expected = (before[0] + 3, before[1] + prompt, before[2] + made)
    eventually(f"{expected} tokens", lambda: ever(alice) == expected, within=WITHIN)
    mine = used(alice, groupBy="model")
    assert {"team-a"} <= set(mine["userGroups"])
    assert CHAT_MODEL in {row["value"] for row in mine["usage"]["rows"]}


def test_others_do_not_see_it_and_administrators_see_all(client, alice, bob, admin):
    chat(client)
    eventually("alice's use", lambda: used(alice)["totalPrompts"], within=WITHIN)
    hidden = bob.call("GET", "/metrics/users/alice")
    assert (hidden.status, hidden.body["code"]) == (404, "not_found")
    assert bob.call("GET", "/metrics/users/all").status == 403
    everything = admin.call("GET", "/metrics/users/all?groupBy=user").body["body"]
    assert everything["totalUniqueUsers"] >= 1
    assert everything["userGroups"]["team-a"] >= 1
    assert "alice" in {row["value"] for row in everything["usage"]["rows"]}
    # The chat may be recorded between two readings.
    prompts = [used(api, "alice")["totalPrompts"] for api in (alice, admin, alice)]
    assert prompts == sorted(prompts)


def test_the_table_is_csv(client, alice, api_url):
    chat(client)
    eventually("alice's use", lambda: used(alice)["totalPrompts"], within=WITHIN)

    def table():
        answer = http(
            "GET", f"{api_url}/metrics/users/alice", token=alice.token, headers={"Accept": "text/csv"}
        )
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("text/csv")
        rows = csv.DictReader(io.StringIO(answer.body))
        return [(row["model"], int(row["promptTokens"])) for row in rows]

    def by_model():
        rows = used(alice, groupBy="model")["usage"]["rows"]
        return [(row["value"], row["promptTokens"]) for row in rows]

    # The chat may be recorded between two readings.
    eventually("both alike", lambda: table() == by_model(), within=WITHIN)


def test_nothing_older_than_a_second_is_lost_when_the_gateway_is_killed(cloud, client, alice):
    # Given
    before = settled(client, alice)
    told = [chat(client).usage for _ in range(3)]
    time.sleep(1)  # what the guarantee allows

    # When
    (gateway, *_) = [
        process
        for process in cloud.containers("lisa_gateway")
        if "healthcheck" not in " ".join(process.cmdline())
    ]
    os.kill(gateway.pid, signal.SIGKILL)
    psutil.wait_procs([gateway], timeout=10)

    # Then
    expected = (
        before[0] + 3,
        before[1] + sum(each.prompt_tokens for each in told),
        before[2] + sum(each.completion_tokens for each in told),
    )
    eventually(f"{expected} tokens", lambda: ever(alice) == expected, within=WITHIN)
    eventually("a new gateway", lambda: cloud.chat().status == 200, within=120)


def test_nothing_is_lost_or_counted_twice_when_the_function_is_killed(cloud, client, alice):
    # Given
    before = settled(client, alice)
    told = [chat(client).usage]

    # When its workers are killed while they may be recording
    for _ in range(3):
        for process in cloud.functions():
            try:
                if any(
                    "usage" in part.lower() for part in process.cmdline() + list(process.environ().values())
                ):
                    process.kill()
            except psutil.Error:
                continue
        told.append(chat(client).usage)

    # Then
    expected = (
        before[0] + 4,
        before[1] + sum(each.prompt_tokens for each in told),
        before[2] + sum(each.completion_tokens for each in told),
    )
    eventually(f"{expected} tokens", lambda: ever(alice) == expected, within=120)


def test_a_poisoned_message_ends_where_operators_see_it(cloud):
    # Given a message that nobody of ours has written
    sqs = cloud.session.client("sqs")
    letters = sqs.get_queue_url(QueueName=cloud.outputs["UsageDeadLetters"])["QueueUrl"]
    sqs.send_message(QueueUrl=cloud.outputs["UsageQueueUrl"], MessageBody="poison")

    # Then
    def found():
        messages = sqs.receive_message(QueueUrl=letters, WaitTimeSeconds=1).get("Messages", [])
        return [message["Body"] for message in messages]

    assert eventually("the dead letter", found, within=120) == ["poison"]
