"""Limits, as administrators set them and callers meet them."""

import json

import openai
import pytest

from tests.cloud import eventually
from tests.e2e.conftest import http

pytestmark = pytest.mark.cloud

CHAT = "smollm2-135m"
HELLO = [{"role": "user", "content": "Hi"}]
BODY = {"model": CHAT, "messages": HELLO, "max_tokens": 2}


@pytest.fixture
def lift(admin):
    """Lifts what a test has set."""
    paths: list[str] = []
    yield paths.append
    for path in paths:
        admin.call("DELETE", path)


def test_a_limit_on_requests_holds_for_its_user_on_every_route_and_goes_when_it_is_lifted(
    cloud, admin, alice, bob, client, lift
):
    # Given three requests a minute for alice, in force
    lift("/limits/user/alice")
    answer = admin.call("PUT", "/limits/user/alice", json_body={"requestsPerMinute": 3})
    assert answer.status == 200, answer
    create = client.chat.completions.with_raw_response.create
    eventually(
        "the limit in force",
        lambda: create(**BODY).headers.get("x-ratelimit-limit-requests") == "3",
        within=20,
    )

    # When the limit is used up, by whichever route and header
    routes = [(f"{cloud.url}{prefix}/chat/completions") for prefix in ("/v1", "/v2/serve", "/v2/serve/v1")]
    kinds = [lambda t: {"Authorization": f"Bearer {t}"}, lambda t: {"Api-Key": t}, lambda t: {"x-api-key": t}]
    statuses = [
        http("POST", url, json_body=BODY, headers=kind(alice.token)).status
        for url in routes
        for kind in kinds
    ]

    # Then (a minute may end in between, and gives three more)
    assert statuses.count(200) <= 3 + 3
    assert statuses.count(429) >= 3

    def limited() -> openai.RateLimitError | None:
        try:
            create(**BODY)
        except openai.RateLimitError as error:
            return error
        return None

    refused = eventually("a refusal", limited, within=60)
    headers = refused.response.headers
    assert headers["x-ratelimit-limit-requests"] == "3"
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert 1 <= int(headers["retry-after"]) <= 60
    assert refused.code == "rate_limit_exceeded"
    own = alice.call("GET", "/limits/me").body["limits"]
    assert [(each["limit"], each["allowed"]) for each in own] == [("requestsPerMinute", 3)]

    # Then bob is not touched, and may not look
    theirs = http("POST", f"{cloud.serve_url}/chat/completions", token=bob.token, json_body=BODY)
    assert theirs.status == 200
    assert "x-ratelimit-limit-requests" not in theirs.headers
    assert bob.call("GET", "/limits/user/alice").status == 403
    assert bob.call("GET", "/limits/me").body == {"limits": []}

    # When it is lifted
    assert admin.call("DELETE", "/limits/user/alice").status == 200
    eventually(
        "no limit",
        lambda: limited() is None and "x-ratelimit-limit-requests" not in create(**BODY).headers,
        within=20,
    )


def test_a_budget_warns_by_an_event_and_then_blocks(cloud, admin, bob, lift):
    # Given a queue that listens to the bus
    sqs, events, bus = cloud.session.client("sqs"), cloud.session.client("events"), cloud.outputs["EventBus"]
    name = "test-budget-events"
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name=name, EventBusName=bus, EventPattern='{"source": ["lisa.limits"]}')
    events.put_targets(Rule=name, EventBusName=bus, Targets=[{"Id": "queue", "Arn": arn}])
    try:
        # Given a price of $1 a token, and a budget for bob
        price = {"promptPerMillion": 1_000_000, "completionPerMillion": 1_000_000}
        lift(f"/prices/{CHAT}")
        assert admin.call("PUT", f"/prices/{CHAT}", json_body=price).status == 200
        lift("/limits/user/bob")
        answer = admin.call("PUT", "/limits/user/bob", json_body={"costPerDay": "20.5", "warnAt": 0.1})
        assert answer.status == 200, answer

        # When bob calls until he is refused
        def refused():
            answer = http("POST", f"{cloud.serve_url}/chat/completions", token=bob.token, json_body=BODY)
            return answer if answer.status == 429 else None

        answer = eventually("the budget used up", refused, within=60)

        # Then
        assert answer.body["error"]["code"] == "insufficient_quota"
        assert "costPerDay of the user `bob`" in answer.body["error"]["message"]
        seen: list[dict] = []

        def heard() -> bool:
            got = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=1)
            seen.extend(json.loads(message["Body"]) for message in got.get("Messages", []))
            return {event["detail-type"] for event in seen} == {"Budget Warning", "Budget Exhausted"}

        eventually(f"both events (heard: {seen})", heard, within=30)
        warning = next(event for event in seen if event["detail-type"] == "Budget Warning")
        assert warning["detail"]["subjectId"] == "bob"
        assert warning["detail"]["allowed"] == "20.5"
        assert len(seen) == 2
    finally:
        events.remove_targets(Rule=name, EventBusName=bus, Ids=["queue"])
        events.delete_rule(Name=name, EventBusName=bus)
        sqs.delete_queue(QueueUrl=queue)
