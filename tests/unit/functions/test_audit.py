"""The audit log from the call to the answer of `/api/audit`, on moto's tables."""

import base64
import json

import jsonschema
import pytest
from lisa import aws
from lisa.audit.event import AuditEvent, Origin, id_of, outcome_of
from lisa.audit.schema import AuditRecord
from lisa.audit.store import AuditStore
from lisa.identity.principal import Principal

from tests.unit.functions.conftest import AUDIT_TABLE
from tests.unit.functions.samples import ROOT, call, logged, sample
from tests.unit.models.bodies import external

NOON = 1_795_435_200.0  # 2026-11-23, 12:00 UTC
DAY = 86_400
SCHEMA = json.loads((ROOT / "events" / "audit_event.v1.schema.json").read_text())
CANARY = "canary-3f1c"


@pytest.fixture
def told(monkeypatch):
    """The audit events that functions have told."""
    events = []
    monkeypatch.setattr(
        "lisa.audit.publisher.AuditPublisher.publish",
        lambda self, found: events.extend(event.detail() for event in found),
    )
    return events


def written(number, *, user="admin", action="POST /api/models", time=NOON):
    who = Principal(user=user, groups=frozenset(), is_admin=True, expires_at=0) if user else None
    origin = Origin("api", f"r-{number}", "192.0.2.1", "agent")
    return AuditEvent(id_of(str(number)), time, action, "success", origin, who, "models", f"m-{number}", 201)


@pytest.fixture
def add(account):
    store = AuditStore(AUDIT_TABLE, aws.dynamodb(), retention_days=10)
    return lambda event: store.add(AuditRecord.model_validate(event.detail()))


@pytest.fixture
def find(invoke):
    def ask(caller="admin", groups=("admin",), **query):
        answer = invoke("audit_api", call("GET", "/api/audit", user=caller, groups=groups, query=query))
        return answer["statusCode"], json.loads(answer["body"])

    return ask


def ids(page):
    return [event["object"]["id"] for event in page["events"]]


def pages(find, **query):
    """All pages: the ids on each."""
    found, token = [], {}
    while True:
        status, page = find(**query, **token)
        assert status == 200, page
        found.append(ids(page))
        if page["nextToken"] is None:
            return found
        token = {"nextToken": page["nextToken"]}


# --- What is told


def test_a_write_is_told_with_who_what_which_and_what_came_of_it(invoke, told):
    # When
    invoke("models_api", call("POST", "/api/models", external(modelId="gpt-4o-mini")))
    invoke("models_api", call("DELETE", "/api/models/gpt-4o-mini"))
    # Then
    assert [event["action"] for event in told] == ["POST /api/models", "DELETE /api/models/{modelId}"]
    for event in told:
        jsonschema.validate({"source": "lisa.audit", "detail-type": "Audit Event", "detail": event}, SCHEMA)
        assert event["object"] == {"type": "models", "id": "gpt-4o-mini"}
        assert event["actor"] == {"user": "admin", "tokenId": "", "kind": "sign-in"}
        assert event["outcome"]["result"] == "success"
        assert event["requestId"] == "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"


@pytest.mark.parametrize(
    ("event", "outcome"),
    [
        (call("DELETE", "/api/models/m", user="bob", groups=("user",)), ("denied", 403, "forbidden")),
        (call("DELETE", "/api/models/m", user=None), ("denied", 401, "unauthenticated")),
        (call("POST", "/api/models", "{"), ("failed", 400, "invalid_request")),
        (call("DELETE", "/api/models/m"), ("failed", 404, "model_not_found")),
        (call("PATCH", "/api/models/m"), ("failed", 404, "not_found")),
    ],
    ids=["not an admin", "nobody", "no JSON", "no such model", "no such route"],
)
def test_a_write_that_is_refused_is_told_too(invoke, told, event, outcome):
    invoke("models_api", event)
    (found,) = told
    assert tuple(found["outcome"].values()) == outcome


def test_a_write_that_fails_on_our_side_is_told(load, told, monkeypatch):
    from tests.unit.functions.conftest import Context

    module = load("models_api")
    monkeypatch.setattr("lisa.models.service.ModelService.delete", lambda *args: 1 / 0)
    module.handler(call("DELETE", "/api/models/m"), Context())
    (found,) = told
    assert found["outcome"] == {"result": "failed", "status": 500, "error": "internal_error"}


def test_a_read_is_not_told(invoke, told):
    invoke("models_api", call("GET", "/api/models"))
    assert told == []


def test_no_secret_is_told_or_logged(invoke, told, caplog):
    # Given secrets in the body, the header and the query
    event = call("POST", "/api/models", external(modelId="m", apiKey=CANARY), query={"token": CANARY})
    event["headers"]["Authorization"] = f"Bearer {CANARY}"
    # When
    invoke("models_api", event)
    # Then
    assert len(told) == 1
    assert CANARY not in json.dumps(told)
    assert CANARY not in logged(caplog)


def test_a_write_goes_on_when_the_bus_is_away_and_its_event_stays_in_the_log(invoke, caplog, monkeypatch):
    # Given no bus of that name
    aws.events().delete_event_bus(Name="lisa")

    def away(**kwargs):
        raise aws.events().exceptions.InternalException({"Error": {"Code": "InternalException"}}, "PutEvents")

    client = aws.audit_bus()
    monkeypatch.setattr(client, "put_events", away)
    # When
    answer = invoke("models_api", call("POST", "/api/models", external(modelId="kept", apiKey=CANARY)))
    # Then
    assert answer["statusCode"] == 201
    (line,) = [record for record in caplog.records if record.message == "audit event not delivered"]
    assert line.levelname == "ERROR"
    assert line.auditEvent["object"] == {"type": "models", "id": "kept"}
    assert CANARY not in logged(caplog)


@pytest.mark.parametrize(
    ("status", "outcome"), [(200, "success"), (403, "denied"), (401, "denied"), (404, "failed")]
)
def test_outcomes(status, outcome):
    assert outcome_of(status) == outcome


# --- What is kept


def test_the_queues_sample_is_recorded_once(invoke, find):
    for _ in range(2):
        assert invoke("audit_record", sample("audit_record")) == {"batchItemFailures": []}
    rows = aws.dynamodb().scan(TableName=AUDIT_TABLE)["Items"]
    assert len(rows) == 1
    status, page = find(**{"from": "2026-11-01"})
    assert status == 200
    assert page["events"] == [
        {key: value for key, value in json.loads((ROOT / "events/audit_event.v1.json").read_text())["detail"].items()
         if key != "schemaVersion"}
    ]  # fmt: skip


def test_of_a_batch_only_what_is_no_event_comes_back(invoke):
    event = sample("audit_record")
    event["Records"].append(event["Records"][0] | {"messageId": "bad", "body": '{"detail": {}}'})
    assert invoke("audit_record", event) == {"batchItemFailures": [{"itemIdentifier": "bad"}]}


def test_an_event_is_kept_for_as_long_as_said(add):
    add(written(1))
    (row,) = aws.dynamodb().scan(TableName=AUDIT_TABLE)["Items"]
    assert int(row["expiresAt"]["N"]) == int(NOON) + 10 * DAY


# --- What is found


@pytest.fixture
def history(add):
    """Three days, the newest first: bob's and the admin's writes, and a refused sign-in of nobody."""
    for number in range(6):
        add(
            written(
                number,
                user="bob" if number % 2 else "admin",
                action="DELETE /api/models/{modelId}" if number in (1, 4) else "POST /api/models",
                time=NOON - number * DAY / 2,
            )
        )
    add(written(9, user="", action="sign-in", time=NOON - 9 * DAY))


@pytest.mark.parametrize("size", ["1", "2", "3", "50"])
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ["m-0", "m-1", "m-2", "m-3", "m-4", "m-5", "m-9"]),
        ({"user": "bob"}, ["m-1", "m-3", "m-5"]),
        ({"route": "DELETE /api/models/{modelId}"}, ["m-1", "m-4"]),
        ({"route": "sign-in"}, ["m-9"]),
        ({"user": "bob", "route": "POST /api/models"}, ["m-3", "m-5"]),
        ({"from": "2026-11-22"}, ["m-0", "m-1", "m-2", "m-3"]),
        ({"to": "2026-11-22T12:00:00Z"}, ["m-3", "m-4", "m-5", "m-9"]),
        ({"user": "nobody"}, []),
    ],
    ids=str,
)
def test_events_are_found_newest_first_across_pages_and_days(find, history, query, expected, size):
    wanted = {"from": "2026-11-01", **query, "pageSize": size}
    found = pages(find, **wanted)
    assert [each for page in found for each in page] == expected
    assert all(len(page) <= int(size) for page in found)


def test_few_events_in_many_days_are_found_in_several_calls(find, history):
    # More days lie between than one call looks through
    found = pages(find, **{"from": "2026-01-01", "to": "2027-06-01"})
    assert sum(map(len, found)) == 7
    assert len(found) > 1


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"from": "yesterday"}, "from"),
        ({"from": ""}, "from"),
        ({"to": "2026-13-01"}, "to"),
        ({"from": "2026-11-23", "to": "2026-11-22"}, "from"),
        ({"user": ""}, "user"),
        ({"user": "u" * 201}, "user"),
        ({"route": "/api/models"}, "route"),
        ({"route": "GET /api/models"}, "route"),
        ({"pageSize": "0"}, "pageSize"),
        ({"pageSize": "101"}, "pageSize"),
        ({"pageSize": "many"}, "pageSize"),
        ({"nextToken": "%%%"}, "nextToken"),
        ({"nextToken": ""}, "nextToken"),
    ],
    ids=str,
)
def test_bad_input_is_named(find, query, field):
    status, answer = find(**query)
    assert (status, answer["field"]) == (400, field)


def test_a_token_cannot_be_made_into_another_query(find, history):
    # Given the token of a query for bob's events
    own = {"from": "2026-11-01", "to": "2026-11-23T13:00:00Z", "user": "bob", "pageSize": "1"}
    _, page = find(**own)
    token = page["nextToken"]
    # Then it serves no other query
    for other in ({"user": "admin"}, {"from": "2026-11-02"}, {"route": "POST /api/models"}):
        assert find(**own | other, nextToken=token)[0] == 400
    # nor a position outside of its own, nor what is no position
    start = base64.urlsafe_b64decode(token)[:16]
    for position in (
        b"2026-12-01T00:00:00.000Z#" + b"0" * 36, b"2020-01-01T00:00:00.000Z#" + b"0" * 36, b"", b"x", b"\xff"
    ):  # fmt: skip
        changed = base64.urlsafe_b64encode(start + position).decode()
        assert find(**own, nextToken=changed)[0] == 400


def test_administrators_alone_may_ask(find):
    assert find(caller="bob", groups=("user",))[0] == 403
    assert find(caller=None)[0] == 401
