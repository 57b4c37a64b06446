import json

import boto3
import pytest
from botocore.config import Config
from botocore.stub import Stubber
from lisa.audit.event import AuditEvent, Origin, new_id
from lisa.audit.publisher import ATTEMPTS, AuditPublisher


def event(agent="agent"):
    origin = Origin("api", "r-1", "192.0.2.1", agent)
    return AuditEvent(new_id(), 1_795_467_600.12, "POST /api/models", "success", origin, status=201)


@pytest.fixture
def bus():
    """A bus that answers as a test says, a publisher for it, and what could not be delivered."""
    client = boto3.client(
        "events",
        region_name="us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
        config=Config(retries={"total_max_attempts": 1}),
    )
    lost = []
    publisher = AuditPublisher(
        "lisa", lambda: client, lambda detail, why: lost.append((json.loads(detail), why))
    )
    with Stubber(client) as answers:
        yield answers, publisher, lost
        answers.assert_no_pending_responses()


def answer(*codes):
    entries = [{"ErrorCode": code} if code else {"EventId": "1"} for code in codes]
    return {"FailedEntryCount": sum(map(bool, codes)), "Entries": entries}


def test_more_than_a_call_takes_are_told_in_several(bus):
    answers, publisher, lost = bus
    answers.add_response("put_events", answer(*[""] * 10))
    answers.add_response("put_events", answer("", ""))
    publisher.publish([event() for _ in range(12)])
    assert lost == []


def test_an_event_that_the_bus_refuses_is_told_again_alone(bus):
    answers, publisher, lost = bus
    answers.add_response("put_events", answer("", "InternalFailure"))
    answers.add_response("put_events", answer(""))
    publisher.publish([event(), event()])
    assert lost == []


def test_an_event_that_is_refused_every_time_is_kept_whole(bus):
    answers, publisher, lost = bus
    for _ in range(ATTEMPTS):
        answers.add_response("put_events", answer("InternalFailure"))
    told = event()
    publisher.publish([told])
    assert lost == [(told.detail(), "InternalFailure")]


def test_without_a_bus_the_call_goes_on_and_the_event_is_kept_whole(bus):
    answers, publisher, lost = bus
    answers.add_client_error("put_events", "AccessDeniedException")
    told = event()
    publisher.publish([told])
    ((kept, reason),) = lost
    assert kept == told.detail()
    assert "AccessDenied" in reason


def test_what_a_caller_chose_is_bounded():
    assert len(event("a" * 5000).detail()["userAgent"]) == 200
