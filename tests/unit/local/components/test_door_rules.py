"""Where requests go: places of the front door, listener rules, targets."""

from __future__ import annotations

import pytest
from lisa_local.door import rules
from lisa_local.door.health import parse_codes
from lisa_local.door.routes import Place, place_of
from lisa_local.door.targets import Health, Target, TargetGroup
from lisa_local.emulator.bridges.addresses import address_of


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/", Place.START),
        ("/v1/chat/completions", Place.GATEWAY),
        ("/v1", Place.GATEWAY),
        ("/v2/serve/models", Place.GATEWAY),
        ("/health", Place.GATEWAY),
        ("/health/readiness", Place.GATEWAY),
        ("/v1/models/org%2Fname", Place.GATEWAY),
        ("/v2", Place.UNKNOWN_GATEWAY),
        ("/v2/other", Place.UNKNOWN_GATEWAY),
        ("/v2/server", Place.UNKNOWN_GATEWAY),
        ("/v1/../metrics", Place.UNKNOWN_GATEWAY),
        ("/v1/%2e%2e/metrics", Place.UNKNOWN_GATEWAY),
        ("/v1/..%2fmetrics", Place.UNKNOWN_GATEWAY),
        ("/v1/.%5c../metrics", Place.UNKNOWN_GATEWAY),
        ("/health/%2E/x", Place.UNKNOWN_GATEWAY),
        ("/metrics", Place.UNKNOWN),
        ("//v1/models", Place.UNKNOWN),
        ("/v1x", Place.UNKNOWN),
        ("/healthy", Place.UNKNOWN),
        ("/api", Place.API),
        ("/api/models/", Place.API),
        ("/apis", Place.UNKNOWN),
        ("/api/../oauth2/token", Place.UNKNOWN_API),
        ("/oauth2/token", Place.SIGN_IN),
        ("/login", Place.SIGN_IN),
        ("/logout", Place.SIGN_IN),
        ("/us-east-1_Ab12/.well-known/jwks.json", Place.SIGN_IN),
        ("/us-east-1_Ab12/.well-known/other", Place.UNKNOWN),
        ("/bucket/.well-known/jwks.json", Place.UNKNOWN),
        ("/_ministack/reset", Place.UNKNOWN),
        ("/_lisa/container-credentials", Place.UNKNOWN),
        ("/login/../_ministack/reset", Place.UNKNOWN),
    ],
)
def test_every_path_has_one_place(path: str, place: Place) -> None:
    assert place_of(path) is place


def listener(*conditions: dict, action: dict | None = None) -> rules.Listener:
    matched = action or {"Type": "forward", "TargetGroupArn": "matched"}
    return rules.parse_listener(
        "127.0.0.1",
        {
            "port": 80,
            "defaultActions": [{"Type": "forward", "TargetGroupArn": "default"}],
            "rules": [{"priority": "5", "conditions": list(conditions), "actions": [matched]}],
        },
    )


def request(host: str = "h", path: str = "/", query: str = "", **headers: str) -> rules.Request:
    return rules.Request("GET", host, path, query, headers)


@pytest.mark.parametrize(
    ("condition", "asked", "matches"),
    [
        (
            {"Field": "host-header", "Values": ["ab.models.internal"]},
            request("ab.models.internal:8088"),
            True,
        ),
        ({"Field": "host-header", "Values": ["ab.models.internal"]}, request("AB.models.internal"), True),
        ({"Field": "host-header", "Values": ["ab.models.internal"]}, request("abxmodels.internal"), False),
        ({"Field": "host-header", "Values": ["*.example.com", "b"]}, request("a.example.com"), True),
        ({"Field": "path-pattern", "Values": ["/v1/*"]}, request(path="/v1/a/b"), True),
        ({"Field": "path-pattern", "Values": ["/v1/*"]}, request(path="/V1/a"), False),
        ({"Field": "path-pattern", "Values": ["/a?"]}, request(path="/ab"), True),
        ({"Field": "path-pattern", "Values": ["/[ab]"]}, request(path="/a"), False),
        ({"Field": "http-request-method", "Values": ["GET"]}, request(), True),
        ({"Field": "http-request-method", "Values": ["POST"]}, request(), False),
        ({"Field": "query-string", "Values": ["a=1*"]}, request(query="b=2&a=12"), True),
        ({"Field": "query-string", "Values": ["a=1"]}, request(query="a=2"), False),
        ({"Field": "something-new", "Values": ["x"]}, request(), False),
    ],
)
def test_conditions(condition: dict, asked: rules.Request, matches: bool) -> None:
    action = listener(condition).action(asked)
    assert action == rules.Forward((("matched" if matches else "default", 1),))


def test_all_conditions_of_a_rule_must_match() -> None:
    both = listener({"Field": "host-header", "Values": ["h"]}, {"Field": "path-pattern", "Values": ["/only"]})
    assert both.action(request("h", "/only")).groups[0][0] == "matched"
    assert both.action(request("h", "/other")).groups[0][0] == "default"


def test_weights_share_requests() -> None:
    config = {
        "TargetGroups": [
            {"TargetGroupArn": "a", "Weight": 3},
            {"TargetGroupArn": "b", "Weight": 1},
            {"TargetGroupArn": "none", "Weight": 0},
        ]
    }
    forward = listener(action={"Type": "forward", "ForwardConfig": config}).action(request())
    chosen = [forward.choose() for _ in range(2000)]
    assert "none" not in chosen
    assert 0.7 < chosen.count("a") / 2000 < 0.8


def test_a_redirect_fills_in_what_it_keeps() -> None:
    config = {"StatusCode": "HTTP_301", "Protocol": "HTTPS", "Port": "443", "Path": "/new/#{path}"}
    redirect = listener(action={"Type": "redirect", "RedirectConfig": config}).action(
        request("h:80", "/a", "q=1")
    )
    assert redirect.status == 301
    assert redirect.location(request("h:80", "/a", "q=1"), "http", 80) == "https://h:443/new/a?q=1"


def group(*healths: Health) -> TargetGroup:
    targets = {("127.1.1.1", port): Target("127.1.1.1", port, health) for port, health in enumerate(healths)}
    return TargetGroup("arn", targets=targets)


def test_the_target_with_the_fewest_requests_is_next() -> None:
    balanced = group(Health.HEALTHY, Health.HEALTHY)
    first = balanced.choose()
    with first.request():
        second = balanced.choose()
        assert second is not first
        with second.request(), second.request():
            assert balanced.choose() is first


def test_idle_targets_take_turns() -> None:
    balanced = group(Health.HEALTHY, Health.HEALTHY, Health.HEALTHY)
    seen = []
    for _ in range(6):
        with balanced.choose().request() as target:
            seen.append(target.port)
    assert seen[:3] == seen[3:]
    assert len(set(seen)) == 3


def test_only_healthy_targets_are_chosen_and_slow_ones_if_there_is_no_other() -> None:
    assert group(Health.UNKNOWN, Health.UNHEALTHY).choose() is None
    assert group(Health.SLOW, Health.UNHEALTHY).choose().port == 0
    assert group(Health.SLOW, Health.HEALTHY).choose().port == 1


def test_status_ranges() -> None:
    assert parse_codes("200-299,404") == ((200, 299), (404, 404))


def test_a_load_balancers_address_follows_from_its_name() -> None:
    first = address_of("lisa", 11)
    assert first == address_of("lisa", 11)
    assert first.startswith("127.11.")
    assert address_of("lisa", 11, frozenset({first})) != first
