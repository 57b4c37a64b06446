import csv
import io
import json

import pytest
from lisa import aws
from lisa.usage.message import Entry, Message
from lisa.usage.recorder import UsageRecorder

from tests.unit.functions.conftest import USAGE_TABLE, Context
from tests.unit.functions.samples import call, sample

HOUR = "2026-11-27T02"
AT = 1795746000
NOBODYS = {
    "totalPrompts": 0, "ragUsageCount": 0, "mcpToolCallsCount": 0, "mcpToolUsage": {}, "userGroups": [],
    "sessionMetrics": {}, "firstSeen": None, "lastSeen": None, "promptTokens": 0, "completionTokens": 0, "cost": 0,
}  # fmt: skip


@pytest.fixture
def get(load):
    """Calls the function; answers status and body, parsed when it is JSON."""
    module = load("metrics_api")

    def run(user_id, *, user="alice", accept=None, **query):
        groups = ("admin",) if user == "admin" else ("user",)
        event = call("GET", f"/api/metrics/users/{user_id}", user=user, groups=groups, query=query)
        if accept:
            event["headers"]["Accept"] = accept
        answer = module.handler(event, Context())
        (kind,) = [
            v for n, vs in answer["multiValueHeaders"].items() if n.lower() == "content-type" for v in vs
        ]
        return answer["statusCode"], json.loads(answer["body"]) if "json" in kind else answer["body"]

    return run


@pytest.fixture
def used(account):
    """Records what a user used a model for."""
    recorder = UsageRecorder(USAGE_TABLE, aws.dynamodb(), retention_days=395)
    number = iter(range(1, 10_000))

    def run(user="alice", model="m", hour=HOUR, groups=("user",), token="", **counts):
        counts = {"requests": 1, "succeeded": 1, **counts}
        totals = [(None, "user", user), (None, "model", model), (user, "model", model)]
        totals += [(None, "group", group) for group in groups]
        totals += [(None, "token", token), (user, "token", token)] if token else []
        entries = tuple(
            Entry(of=of, by=by, value=value, hour=hour, first_at=AT, last_at=AT + 60, groups=groups, **counts)
            for of, by, value in totals
        )
        assert recorder.record(Message(id=f"{next(number):032x}", entries=entries))

    return run


RANGE = {"from": "2026-11-01", "to": "2026-11-30"}


def test_the_sample_answers_zeros_to_one_who_has_used_nothing(invoke):
    answer = invoke("metrics_api", sample("metrics_api"))
    assert answer["statusCode"] == 200
    body = json.loads(answer["body"])
    assert body["statusCode"] == 200
    assert NOBODYS.items() <= body["body"]["alice"].items()
    assert body["body"]["alice"]["usage"]["rows"] == []


def test_people_see_what_they_used(get, used):
    # Given
    used(prompt_tokens=10, completion_tokens=5, cost=1_500_001, latency_ms=100, groups=("team-a", "user"))
    used(model="n", prompt_tokens=1, streams=1, first_token_ms=40, latency_ms=300, groups=("team-a", "user"))
    used(user="bob", prompt_tokens=1000)

    # When
    status, body = get("alice", **RANGE)

    # Then
    assert status == 200
    mine = body["body"]["alice"]
    assert (mine["totalPrompts"], mine["promptTokens"], mine["completionTokens"]) == (2, 11, 5)
    assert mine["cost"] == 1.500001
    assert mine["userGroups"] == ["team-a", "user"]
    assert mine["firstSeen"] == "2026-11-27T02:20:00+00:00"
    assert mine["lastSeen"] == "2026-11-27T02:21:00+00:00"
    usage = mine["usage"]
    assert (usage["from"], usage["to"], usage["groupBy"], usage["granularity"]) == (
        "2026-11-01", "2026-11-30", "model", "day",
    )  # fmt: skip
    assert [(row["period"], row["value"], row["promptTokens"]) for row in usage["rows"]] == [
        ("2026-11-27", "m", 10),
        ("2026-11-27", "n", 1),
    ]
    assert usage["totals"]["requests"] == 2
    assert usage["totals"]["latencyMs"] == 200
    assert usage["totals"]["firstTokenMs"] == 40
    assert usage["rows"][0]["firstTokenMs"] is None


@pytest.mark.parametrize("who", ["bob", "nobody", "ALICE", "alice "])
def test_what_others_used_does_not_exist(get, used, who):
    used(user="bob")
    status, body = get(who)
    assert (status, body["code"]) == (404, "not_found")


def test_admins_see_everybodys_and_zeros_of_who_has_used_nothing(get, used):
    used(user="bob", prompt_tokens=3)
    assert get("bob", user="admin")[1]["body"]["bob"]["promptTokens"] == 3
    assert NOBODYS.items() <= get("nobody", user="admin")[1]["body"]["nobody"].items()
    assert NOBODYS.items() <= get("admin", user="admin")[1]["body"]["admin"].items()


def test_all_is_for_admins(get, used):
    used()
    assert get("all")[0] == 403
    assert get("all", user=None)[0] == 401


def test_admins_see_all(get, used):
    # Given
    used(groups=("team-a", "user"), prompt_tokens=1)
    used(groups=("team-a", "user"), model="n", token="t1", prompt_tokens=2)
    used(user="bob", groups=("user",), prompt_tokens=4)
    used(user="bob", hour="2026-11-26T23", groups=("user",), prompt_tokens=8, succeeded=0, failed=1)

    # Then
    body = get("all", user="admin", **RANGE)[1]["body"]
    assert body["totalUniqueUsers"] == 2
    assert body["totalPrompts"] == 3
    assert body["userGroups"] == {"team-a": 1, "user": 2}
    assert (body["totalRagUsage"], body["totalMCPToolCalls"], body["mcpToolUsage"]) == (0, 0, {})
    assert body["promptTokens"] == 15

    def rows(**query):
        usage = get("all", user="admin", **RANGE, **query)[1]["body"]["usage"]
        assert usage["totals"]["promptTokens"] == (2 if query.get("groupBy") == "token" else 15)
        return [(row["period"], row["value"], row["promptTokens"]) for row in usage["rows"]]

    day, before = "2026-11-27", "2026-11-26"
    assert rows() == [(before, "m", 8), (day, "m", 5), (day, "n", 2)]
    assert rows(groupBy="user") == [(before, "bob", 8), (day, "alice", 3), (day, "bob", 4)]
    assert rows(groupBy="group") == [(before, "user", 8), (day, "team-a", 3), (day, "user", 7)]
    assert rows(groupBy="token") == [(day, "t1", 2)]
    assert rows(groupBy="day") == [(before, "", 8), (day, "", 7)]
    assert rows(groupBy="day", granularity="hour") == [(before + "T23", "", 8), (HOUR, "", 7)]


def test_the_days_asked_for_are_both_included_and_no_others(get, used):
    for day in ("2026-11-25", "2026-11-26", "2026-11-27", "2026-11-28"):
        used(hour=f"{day}T00")
        used(hour=f"{day}T23")
    for granularity in ("day", "hour"):
        _, body = get("alice", **{"from": "2026-11-26", "to": "2026-11-27"}, granularity=granularity)
        assert {row["period"][:10] for row in body["body"]["alice"]["usage"]["rows"]} == {
            "2026-11-26",
            "2026-11-27",
        }
        assert body["body"]["alice"]["usage"]["totals"]["requests"] == 4


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"from": "yesterday"}, "from"),
        ({"to": "2026-02-30"}, "to"),
        ({"to": "1795746000"}, "to"),
        ({"from": "0001-01-01"}, "from"),
        ({"to": "2000-01-01"}, None),
        ({"from": "2026-11-02", "to": "2026-11-01"}, "from"),
        ({"from": "2024-01-01", "to": "2026-01-01"}, "from"),
        ({"from": "2026-01-01", "to": "2026-03-01", "granularity": "hour"}, "from"),
        ({"granularity": "minute"}, "granularity"),
        ({"groupBy": "colour"}, "groupBy"),
        ({"groupBy": "user"}, "groupBy"),
        ({"format": "xml"}, "format"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused_and_the_field_named(get, query, field):
    status, body = get("alice", **query)
    assert (status, body.get("field")) == ((400, field) if field else (200, None))


@pytest.mark.parametrize("how", [{"format": "csv"}, {"accept": "text/csv"}])
def test_a_table_is_read_by_spreadsheets_and_runs_nothing_there(get, used, how):
    # Given models whose names a spreadsheet would take for more than a name
    for model in ('=HYPERLINK("http://evil","x")', "+1", "-1", "@a", 'a,b"c\nd'):
        used(model=model, prompt_tokens=2, cost=1)

    # When
    status, text = get("alice", **RANGE, **how)

    # Then
    assert status == 200
    head, *rows = list(csv.reader(io.StringIO(text)))
    assert head[:4] == ["day", "model", "requests", "succeeded"]
    assert {"promptTokens", "completionTokens", "cost", "latencyMs"} <= set(head)
    assert {row[1] for row in rows} == {
        "'=HYPERLINK(\"http://evil\",\"x\")", "'+1", "'-1", "'@a", "a,b\"c\nd",
    }  # fmt: skip
    assert {row[head.index("cost")] for row in rows} == {"0.000001"}
    assert {row[head.index("promptTokens")] for row in rows} == {"2"}


@pytest.mark.parametrize("user", ["a@example.com", "a b", "a#m", "USER#a", "ü", "T#alice", "x" * 800])
def test_no_name_is_taken_for_another(get, used, user):
    from urllib.parse import quote

    used(user=user, model="D#2026-11-27#m", prompt_tokens=1)
    used(user="a", model="m", prompt_tokens=100)
    status, body = get(quote(user, safe=""), user="admin", **RANGE)
    assert status == 200
    mine = body["body"][user]
    assert mine["promptTokens"] == 1
    assert [(row["value"], row["promptTokens"]) for row in mine["usage"]["rows"]] == [("D#2026-11-27#m", 1)]
