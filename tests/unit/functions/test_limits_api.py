import base64
import json

import jsonschema
import pytest
from lisa import aws
from lisa.limits.counters import CounterStore
from lisa.limits.record import counter_key
from lisa.limits.store import LimitStore
from lisa.limits.windows import Window
from lisa.models.store import ModelStore

from tests.unit.functions.conftest import LIMITS_TABLE, TABLE, Context
from tests.unit.functions.samples import ROOT, call, sample
from tests.unit.models.bodies import external, record

NOW = 1_700_000_000


@pytest.fixture
def api(load, monkeypatch):
    module = load("limits_api")
    monkeypatch.setattr(module.limits, "_clock", lambda: NOW)

    def run(*args, **kwargs):
        event = args[0] if isinstance(args[0], dict) else call(*args, **kwargs)
        answer = module.handler(event, Context())
        return answer["statusCode"], json.loads(answer["body"])

    return run


@pytest.fixture
def store(account):
    return LimitStore(LIMITS_TABLE, aws.dynamodb())


def refused(answer, status, code, field=None):
    assert answer[0] == status, answer
    assert answer[1]["code"] == code
    assert answer[1].get("field") == field
    assert answer[1]["message"]


def test_a_limit_is_set_read_replaced_and_lifted(api, store):
    # When
    status, body = api(sample("limits_api"))

    # Then
    assert status == 200
    assert body["limit"]["requestsPerMinute"] == 60
    assert body["limit"]["costPerMonth"] == "25.5"
    assert (body["limit"]["updatedAt"], body["limit"]["updatedBy"]) == (NOW, "admin")
    assert api("GET", "/api/limits/user/alice") == (200, body)
    assert store.version() == 1

    # When it is replaced, what is left out does not hold any more
    api("PUT", "/api/limits/user/alice", {"tokensPerDay": 5})
    assert store.limit("user", "alice").amounts == {"tokensPerDay": 5}

    # When it is lifted
    assert api("DELETE", "/api/limits/user/alice")[1]["limit"]["tokensPerDay"] == 5
    refused(api("GET", "/api/limits/user/alice"), 404, "limit_not_found")
    refused(api("DELETE", "/api/limits/user/alice"), 404, "limit_not_found")
    assert store.version() == 3


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, None),
        ({"warnAt": 0.5}, None),
        ({"tokensPerDay": 11, "tokensPerMonth": 10}, "tokensPerDay"),
        ({"tokensPerMinute": 11, "tokensPerDay": 10}, "tokensPerMinute"),
        ({"tokensPerMinute": 11, "tokensPerMonth": 10}, "tokensPerMinute"),
        ({"costPerDay": "0.2", "costPerMonth": "0.1"}, "costPerDay"),
        ({"requestsPerMinute": 0}, "requestsPerMinute"),
        ({"requestsPerMinute": -1}, "requestsPerMinute"),
        ({"requestsPerMinute": 1.5}, "requestsPerMinute"),
        ({"requestsPerMinute": True}, "requestsPerMinute"),
        ({"requestsPerMinute": "1"}, "requestsPerMinute"),
        ({"tokensPerDay": 10**30}, "tokensPerDay"),
        ({"costPerDay": 0}, "costPerDay"),
        ({"costPerDay": "-1"}, "costPerDay"),
        ({"costPerDay": "0.0000001"}, "costPerDay"),
        ({"costPerDay": "NaN"}, "costPerDay"),
        ({"costPerDay": "1e999999999"}, "costPerDay"),
        ({"costPerDay": "much"}, "costPerDay"),
        ({"costPerDay": True}, "costPerDay"),
        ({"tokensPerDay": 5, "warnAt": 0}, "warnAt"),
        ({"tokensPerDay": 5, "warnAt": 1.1}, "warnAt"),
        ({"requestPerMinute": 5}, "requestPerMinute"),
    ],
)
def test_what_contradicts_itself_is_refused_and_changes_nothing(api, store, body, field):
    refused(api("PUT", "/api/limits/user/alice", body), 400, "invalid_request", field)
    assert store.version() == 0


def test_limits_may_be_equal_and_money_is_exact(api, store):
    api("PUT", "/api/limits/user/alice", {"costPerDay": 0.1, "costPerMonth": "0.100000", "warnAt": 1})
    found = store.limit("user", "alice")
    assert found.amounts == {"costPerDay": 100_000, "costPerMonth": 100_000}
    assert found.warn_at == 1_000_000


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/api/limits/users/alice", "subjectType"),
        ("/api/limits/default-user/alice", "subjectId"),
        ("/api/limits/user/~***", "subjectId"),
        ("/api/limits/user/" + "x" * 201, "subjectId"),
    ],
)
def test_a_subject_that_cannot_be_is_refused(api, path, field):
    refused(api("PUT", path, {"tokensPerDay": 1}), 400, "invalid_request", field)


@pytest.mark.parametrize(
    "name", ["/admins/of all", "a#b", "~tilde", "日本 'x\" <y>", "..", "%2F", "user#alice", "\u200b\n\t"]
)
def test_an_id_of_any_characters_is_a_subject_of_its_own(api, store, name):
    # Given
    path = "/api/limits/group/~" + base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")

    # Then
    assert api("PUT", path, {"tokensPerDay": 1})[1]["limit"]["subjectId"] == name
    assert [limit.subject_id for limit in store.everything()[1]] == [name]
    assert api("DELETE", path)[0] == 200
    assert store.everything()[1] == []


def test_a_model_has_to_be_there_and_a_limit_on_its_cost_needs_a_price(api, account):
    refused(api("PUT", "/api/limits/model/m1", {"tokensPerDay": 1}), 400, "unknown_model", "modelId")
    refused(
        api("PUT", "/api/prices/m1", {"promptPerMillion": 1, "completionPerMillion": 2}),
        400,
        "unknown_model",
        "modelId",
    )
    ModelStore(TABLE, aws.dynamodb()).create(record(external(modelId="m1")))
    assert api("PUT", "/api/limits/model/m1", {"tokensPerDay": 1})[0] == 200
    refused(api("PUT", "/api/limits/model/m1", {"costPerDay": 1}), 400, "price_missing", "costPerDay")

    # When there is a price
    status, body = api("PUT", "/api/prices/m1", {"promptPerMillion": "0.15", "completionPerMillion": 0.6})

    # Then
    assert status == 200
    assert body["price"]["promptPerMillion"] == "0.15"
    assert body["price"]["completionPerMillion"] == "0.6"
    assert api("GET", "/api/prices")[1]["prices"] == [body["price"]]
    assert api("PUT", "/api/limits/model/m1", {"costPerDay": 1})[0] == 200
    refused(api("DELETE", "/api/prices/m1"), 409, "conflict")
    api("DELETE", "/api/limits/model/m1")
    assert api("DELETE", "/api/prices/m1")[0] == 200
    refused(api("DELETE", "/api/prices/m1"), 404, "price_not_found")


def test_limits_come_in_pages(api):
    for name in ("a", "b", "c"):
        api("PUT", f"/api/limits/user/{name}", {"tokensPerDay": 1})
    first = api("GET", "/api/limits", query={"pageSize": "2"})[1]
    second = api("GET", "/api/limits", query={"pageSize": "2", "nextToken": first["nextToken"]})[1]
    assert [limit["subjectId"] for limit in first["limits"] + second["limits"]] == ["a", "b", "c"]
    assert second["nextToken"] is None
    refused(api("GET", "/api/limits", query={"pageSize": "0"}), 400, "invalid_request", "pageSize")
    refused(api("GET", "/api/limits", query={"nextToken": "***"}), 400, "invalid_request", "nextToken")


def test_people_see_their_own_limits_and_what_is_used(api, store):
    # Given one for every user, one for a group of hers, and others' ones
    api("PUT", "/api/limits/default-user/*", {"requestsPerMinute": 5})
    api("PUT", "/api/limits/group/team-a", {"costPerDay": "2"})
    api("PUT", "/api/limits/group/team-b", {"costPerDay": "3"})
    api("PUT", "/api/limits/user/bob", {"requestsPerMinute": 9})
    counters = CounterStore(LIMITS_TABLE, aws.dynamodb())
    start, end = Window.DAY.bounds(NOW)
    counters.add(counter_key("group", "team-a"), Window.DAY, start, end, tokens=7, cost=500_000)

    # When
    status, body = api("GET", "/api/limits/me", user="alice", groups=("team-a",))

    # Then
    assert status == 200
    assert body["limits"] == [
        {"subjectType": "user", "subjectId": "alice", "limit": "requestsPerMinute", "allowed": 5, "used": 0,
         "remaining": 5, "resetsAt": NOW - NOW % 60 + 60},
        {"subjectType": "group", "subjectId": "team-a", "limit": "costPerDay", "allowed": "2", "used": "0.5",
         "remaining": "1.5", "resetsAt": end},
    ]  # fmt: skip


def test_everything_else_is_for_administrators(api):
    for method, path in (
        ("GET", "/api/limits"), ("GET", "/api/limits/user/alice"), ("PUT", "/api/limits/user/alice"),
        ("DELETE", "/api/limits/user/alice"), ("GET", "/api/prices"), ("PUT", "/api/prices/m1"),
        ("DELETE", "/api/prices/m1"),
    ):  # fmt: skip
        refused(api(method, path, {}, user="alice", groups=("user",)), 403, "forbidden")


def test_a_warning_that_was_written_down_is_told_in_the_shape_of_its_schema(load, monkeypatch):
    # Given
    module = load("limit_alert")
    said = []
    monkeypatch.setattr(
        module.publisher._client,
        "put_events",
        lambda Entries: said.extend(Entries) or {"FailedEntryCount": 0},
    )

    # When
    assert module.handler(sample("limit_alert"), Context()) == {"batchItemFailures": []}

    # Then
    (entry,) = said
    event = {
        "source": entry["Source"],
        "detail-type": entry["DetailType"],
        "detail": json.loads(entry["Detail"]),
    }
    schema = json.loads((ROOT / "events" / "budget_warning.v1.schema.json").read_text())
    jsonschema.validate(event, schema)
    assert event["detail"]["used"] == "20.41"
    assert entry["EventBusName"] == "lisa"


def test_a_warning_that_the_bus_does_not_take_comes_again(load, monkeypatch):
    module = load("limit_alert")
    monkeypatch.setattr(
        module.publisher._client,
        "put_events",
        lambda Entries: {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "InternalFailure"}]},
    )
    event = sample("limit_alert")
    second = json.loads(json.dumps(event["Records"][0]))
    second["dynamodb"]["SequenceNumber"] = "112"
    event["Records"].append(second)
    from aws_lambda_powertools.utilities.batch.exceptions import BatchProcessingError

    with pytest.raises(BatchProcessingError):  # all have failed: the whole batch comes again
        module.handler(event, Context())
