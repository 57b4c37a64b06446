"""Limits, seen from a caller of one gateway in front of a real table (moto's)."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import boto3
import pytest
from lisa.limits.counters import CounterStore, Totals
from lisa.limits.prices import Price
from lisa.limits.record import Limit, counter_key
from lisa.limits.store import LimitStore
from lisa.limits.windows import Window
from lisa_gateway.limit_answers import duration
from lisa_gateway.limits import Limits
from moto import mock_aws

from tests.unit.gateway.harness import ALICE, BOB, HELLO, Running, document, route, running, wait_for
from tests.unit.tables import create_table

NOON = 1_700_049_600 - 1_700_049_600 % 86_400 + 43_200
TABLE = "limits"


class OneAtATime:
    """A client whose calls come one after the other: moto, unlike DynamoDB, is not made for several threads."""

    def __init__(self, client) -> None:
        self._client = client
        self._lock = threading.Lock()
        self.exceptions = client.exceptions

    def __getattr__(self, name: str):
        method = getattr(self._client, name)

        def call(*args, **kwargs):
            with self._lock:
                return method(*args, **kwargs)

        return call


class Tables(LimitStore):
    """The limits table, and a way to take it away."""

    def __init__(self, client) -> None:
        super().__init__(TABLE, client)
        self.client = client
        self.counters = Faulty(TABLE, client)
        self.now = NOON

    def set(self, kind: str, name: str, *, warn_at: int = 800_000, **amounts: int) -> None:
        self.put_limit(Limit(kind, name, amounts, warn_at))

    def alerts(self) -> list[str]:
        items = self.client.query(
            TableName=TABLE,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": "ALERT"}},
        )["Items"]
        return sorted(item["detailType"]["S"] for item in items)


class Faulty(CounterStore):
    down = False

    def _check(self) -> None:
        if self.down:
            raise ConnectionError("no table")

    def add(self, *args, **kwargs):
        self._check()
        return super().add(*args, **kwargs)

    def lease(self, *args, **kwargs):
        self._check()
        return super().lease(*args, **kwargs)


@pytest.fixture
def tables(monkeypatch) -> Iterator[Tables]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        client = boto3.client("dynamodb", region_name="us-east-1")
        create_table(client, TABLE)
        yield Tables(OneAtATime(client))


@pytest.fixture
def gateway(tables: Tables) -> Iterator[Running]:
    limits = lambda: Limits(  # noqa: E731
        lambda: (tables, tables.counters), clock=lambda: tables.now, tick_seconds=0.05, poll_seconds=0.02
    )
    routes = lambda port: [route("m", port=port), route("e", mode="embedding", engine="onnx", port=port)]  # noqa: E731
    with running(routes=routes, limits=limits) as value:
        wait_for(lambda: value.application.limits.loaded)
        yield value


def in_force(gateway: Running, tables: Tables) -> None:
    wait_for(lambda: gateway.application.limits.version == tables.version())


def used(tables: Tables, kind: str, name: str, window: Window):
    return tables.counters.read(counter_key(kind, name), window, window.bounds(tables.now)[0])


def test_without_a_limit_nothing_is_said(gateway):
    answer = gateway.chat()
    assert answer.status == 200
    assert not [name for name in answer.headers if name.startswith("x-ratelimit")]


def test_requests_a_minute_let_exactly_so_many_through_whatever_the_route_and_header(gateway, tables):
    # Given
    tables.set("user", "alice", requestsPerMinute=3)
    in_force(gateway, tables)
    body = {"model": "m", "messages": HELLO}

    # When
    answers = [
        gateway.chat(),
        gateway.request("POST", "/v2/serve/chat/completions", body=body, headers={"authorization": ALICE}),
        gateway.request(
            "POST", "/v2/serve/v1/chat/completions", token=None, body=body, headers={"x-api-key": ALICE}
        ),
        gateway.chat(),
        gateway.request("POST", "/v1/chat/completions", token=None, body=body, headers={"api-key": ALICE}),
    ]

    # Then
    assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
    assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers] == list("21000")
    refused = answers[3]
    assert refused.headers["x-ratelimit-limit-requests"] == "3"
    assert refused.headers["x-ratelimit-reset-requests"] == "1m0s"
    assert refused.headers["retry-after"] == "60"
    assert refused.error["code"] == "rate_limit_exceeded"
    assert "requestsPerMinute of the user `alice`" in refused.error["message"]
    assert len(gateway.upstream.asked) == 3

    # Then somebody else is not touched, and the next minute is a new one
    assert gateway.chat(token=BOB).status == 200
    tables.now += 60
    assert gateway.chat().status == 200


def test_what_nothing_is_added_to_is_told_all_the_same(tables):
    start, end = Window.MINUTE.bounds(NOON)
    tables.counters.add("USER#alice", Window.MINUTE, start, end, requests=3)
    totals = tables.counters.add("USER#alice", Window.MINUTE, start, end, tokens=10)
    assert totals == Totals(requests=3, tokens=10)


def test_the_messages_api_refuses_in_its_own_dialect(gateway, tables):
    tables.set("model", "m", tokensPerMinute=10)
    in_force(gateway, tables)
    message = {"model": "m", "max_tokens": 5, "messages": HELLO}
    gateway.chat()  # uses 10 tokens

    # Then
    refused = gateway.request("POST", "/v1/messages", body=message)
    assert refused.status == 429
    assert refused.json["type"] == "error"
    assert refused.json["error"]["type"] == "rate_limit_error"
    assert "tokensPerMinute of the model `m`" in refused.json["error"]["message"]
    assert refused.headers["retry-after"] == "60"
    assert refused.headers["x-ratelimit-remaining-tokens"] == "0"
    assert "x-should-retry" not in refused.headers


def test_tokens_are_counted_from_the_answer_and_shown(gateway, tables):
    tables.set("group", "team-a", tokensPerMinute=25, tokensPerDay=1000)
    in_force(gateway, tables)
    seen = [gateway.chat() for _ in range(4)]
    assert [answer.status for answer in seen] == [200, 200, 200, 429]  # the third begins with 5 left
    assert [answer.headers["x-ratelimit-remaining-tokens"] for answer in seen] == ["25", "15", "5", "0"]
    wait_for(lambda: used(tables, "group", "team-a", Window.DAY).tokens == 30)


def test_a_default_holds_for_each_user_alone_and_an_own_one_replaces_it(gateway, tables):
    tables.set("default-user", "*", requestsPerMinute=1)
    tables.set("user", "bob", requestsPerMinute=2)
    in_force(gateway, tables)
    assert [gateway.chat().status for _ in range(2)] == [200, 429]
    assert [gateway.chat(token=BOB).status for _ in range(3)] == [200, 200, 429]


def test_a_change_is_in_force_while_running(gateway, tables):
    tables.set("user", "alice", requestsPerMinute=2)
    in_force(gateway, tables)
    assert [gateway.chat().status for _ in range(3)] == [200, 200, 429]
    tables.set("user", "alice", requestsPerMinute=4)
    in_force(gateway, tables)
    assert [gateway.chat().status for _ in range(3)] == [200, 200, 429]
    tables.set("user", "alice", requestsPerMinute=1)
    in_force(gateway, tables)
    assert gateway.chat().status == 429
    tables.remove_limit("user", "alice")
    in_force(gateway, tables)
    assert gateway.chat().status == 200


def test_a_cost_budget_warns_once_and_then_blocks_until_the_month_is_over(gateway, tables):
    # Given a price of $1 a prompt token and $2 a completion token: $13 a call
    tables.put_price(Price("m", 10**12, 2 * 10**12))
    tables.set("user", "alice", costPerMonth=20 * 10**6, warn_at=500_000)
    in_force(gateway, tables)

    # When
    assert gateway.chat().status == 200
    wait_for(lambda: tables.alerts() == ["Budget Warning"])
    assert gateway.chat().status == 200
    refused = gateway.chat()

    # Then
    assert refused.status == 429
    assert refused.error["code"] == "insufficient_quota"
    assert "$20 a month" in refused.error["message"]
    assert refused.headers["x-should-retry"] == "false"
    assert int(refused.headers["retry-after"]) == Window.MONTH.bounds(tables.now)[1] - tables.now
    wait_for(lambda: tables.alerts() == ["Budget Exhausted", "Budget Warning"])
    gateway.chat()
    assert used(tables, "user", "alice", Window.MONTH).cost == 26 * 10**6

    # Then, when the month is over
    tables.now = Window.MONTH.bounds(tables.now)[1]
    assert gateway.chat().status == 200


def test_a_stream_that_its_caller_leaves_is_charged(gateway, tables):
    # Given
    from tests.unit.gateway.harness import chunk, events

    tables.set("user", "alice", tokensPerDay=1000)
    in_force(gateway, tables)
    gateway.upstream.reply = events(*[chunk({"content": "word "})] * 2000, gap=0.01)

    # When
    with gateway.open(stream=True) as sock:
        received = b""
        while received.count(b"word") < 3:
            received += sock.recv(65536)

    # Then
    wait_for(lambda: used(tables, "user", "alice", Window.DAY).tokens >= 3)


def test_a_failed_upstream_uses_a_request_and_no_token(gateway, tables):
    tables.set("user", "alice", requestsPerMinute=9, tokensPerMinute=9)
    in_force(gateway, tables)
    gateway.upstream.reply = document({"error": "x"}, status=500)
    assert gateway.chat().status >= 500
    gateway.upstream.reply = document({"choices": []})
    answer = gateway.chat()
    assert answer.headers["x-ratelimit-remaining-requests"] == "7"
    assert answer.headers["x-ratelimit-remaining-tokens"] == "9"


def test_a_refused_body_uses_nothing(gateway, tables):
    tables.set("user", "alice", requestsPerMinute=1)
    in_force(gateway, tables)
    assert gateway.chat(messages="no").status == 400
    assert gateway.chat(model="other").status == 404
    assert gateway.chat().status == 200


def test_without_the_table_rates_hold_for_each_gateway(gateway, tables):
    # Given
    tables.set("user", "alice", requestsPerMinute=3)
    in_force(gateway, tables)
    tables.counters.down = True

    # Then
    assert [gateway.chat().status for _ in range(4)] == [200, 200, 200, 429]

    # Then what was let through is counted when the table is back
    tables.counters.down = False
    wait_for(lambda: used(tables, "user", "alice", Window.MINUTE).requests == 3, within=20)


def test_without_the_table_a_budget_that_was_never_known_is_closed(gateway, tables):
    tables.set("user", "alice", tokensPerDay=1000)
    in_force(gateway, tables)
    tables.counters.down = True
    refused = gateway.chat()
    assert refused.status == 503
    assert refused.headers["retry-after"] == "5"
    assert gateway.upstream.asked == []
    tables.counters.down = False
    wait_for(lambda: gateway.chat().status == 200)


def test_without_the_table_a_budget_goes_by_what_is_known_for_a_while(gateway, tables, monkeypatch):
    # Given a gateway that knows the total
    tables.set("user", "alice", tokensPerDay=35)
    in_force(gateway, tables)
    assert gateway.chat().status == 200
    tables.counters.down = True

    # Then it goes on counting by itself, and the limit holds
    assert [gateway.chat().status for _ in range(4)] == [200, 200, 200, 429]

    # Then what was used meanwhile is not lost
    tables.counters.down = False
    wait_for(lambda: used(tables, "user", "alice", Window.DAY).tokens == 40, within=20)


def test_a_budget_that_has_not_been_known_for_too_long_is_closed(gateway, tables, monkeypatch):
    tables.set("user", "alice", tokensPerDay=1000)
    in_force(gateway, tables)
    assert gateway.chat().status == 200
    tables.counters.down = True
    monkeypatch.setattr("lisa_gateway.limits.GRACE_SECONDS", 0.0)
    monkeypatch.setattr("lisa_gateway.meters.FRESH_SECONDS", 0.0)
    wait_for(lambda: gateway.chat().status == 503)


@pytest.mark.parametrize("name", ["a#b", "~", "日本", "\ud800", "x" * 5000, "' OR 1=1 --", "\n"])
def test_callers_of_any_name_have_a_counter(tables, name):
    totals = tables.counters.add(counter_key("user", name), Window.DAY, 0, 86_400, tokens=1)
    assert totals.tokens == 1


def test_many_callers_at_once_get_exactly_what_is_there(gateway, tables):
    tables.set("user", "alice", requestsPerMinute=50)
    in_force(gateway, tables)
    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(lambda _: gateway.chat().status, range(120)))
    assert statuses.count(200) == 50
    assert statuses.count(429) == 70


@pytest.mark.parametrize(
    ("seconds", "text"), [(1, b"1s"), (59, b"59s"), (60, b"1m0s"), (360, b"6m0s"), (93_661, b"26h1m1s")]
)
def test_durations_are_written_as_openai_does(seconds, text):
    assert duration(seconds) == text
