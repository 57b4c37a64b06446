from dataclasses import replace

import pytest
from lisa.errors import Conflict
from lisa.models.routes import HostedTarget, ProviderTarget, Route

from tests.unit.models.bodies import record

HOSTED = Route(
    model_id="m1",
    model_name="org/weights",
    model_type="textgen",
    mode="chat",
    hosting_type="lisa_hosted",
    state="starting",
    target=HostedTarget("vllm", "http://models:8088", "abc.models.internal"),
    allowed_groups=("team-a",),
    context_window=2048,
    created_at=1000,
)
EXTERNAL = replace(
    HOSTED,
    model_id="m2",
    state="active",
    hosting_type="third_party",
    target=ProviderTarget("openai/x", "http://provider", "arn:secret"),
    allowed_groups=(),
    context_window=None,
)


def test_routes_come_back_as_they_were_put(routes):
    routes.put(HOSTED)
    routes.put(EXTERNAL)
    assert routes.routes() == (2, [HOSTED, EXTERNAL])


def test_the_version_grows_with_every_change_and_with_nothing_else(routes):
    assert routes.version() == 0
    assert routes.put(HOSTED) == 1
    assert routes.put(replace(HOSTED, state="active")) == 2
    assert routes.remove("m1") == 3
    assert routes.remove("m1") == 3  # it was not there any more
    routes.acknowledge("gateway-1", 3)
    assert routes.version() == 3


def test_only_the_newest_wish_may_put_its_route(routes, models):
    # Given
    models.create(record())  # generation 7
    routes.put(HOSTED, generation=7)
    models.want_absent(models.get("m1"), now=1, deadline=2)
    routes.remove("m1")

    # When
    with pytest.raises(Conflict):
        routes.put(HOSTED, generation=7)

    # Then
    assert routes.routes()[1] == []


def test_a_change_counts_when_every_live_gateway_has_loaded_it(routes, clock):
    routes.acknowledge("gateway-1", 4)
    routes.acknowledge("gateway-2", 3)
    assert routes.acknowledged(3)
    assert not routes.acknowledged(4)
    routes.acknowledge("gateway-2", 5)
    assert routes.acknowledged(4)


def test_a_gateway_that_has_not_been_seen_for_30_seconds_is_not_waited_for(routes, clock):
    # Given
    routes.acknowledge("gateway-1", 3)
    assert not routes.acknowledged(4)

    # When
    clock.now += 31

    # Then
    assert routes.live_gateways() == []
    assert routes.acknowledged(4)


def test_a_gateway_is_forgotten_by_the_tables_time_to_live(routes, clock, dynamodb):
    routes.acknowledge("gateway-1", 3)
    item = dynamodb.get_item(TableName="models", Key={"pk": {"S": "GATEWAY"}, "sk": {"S": "gateway-1"}})[
        "Item"
    ]
    assert int(item["expiresAt"]["N"]) == int(clock.now) + 3600
