"""The catalogue: polled, acknowledged, kept while the table is down."""

import asyncio
import threading

import boto3
import pytest
from lisa.models.routes import HostedTarget, RouteStore
from lisa_gateway.catalogue import Catalogue, LiveRoute, Watcher
from moto import mock_aws

from tests.unit.gateway.harness import MemoryStore, route, running, wait_for
from tests.unit.tables import create_table


class Watched:
    """A watcher over a store, in a loop of its own, with a stand-in for LiteLLM's state."""

    def __init__(self, store, **options):
        self.store, self.catalogue, self.in_force = store, Catalogue(), True
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        options = {"poll_seconds": 0.01, "heartbeat_seconds": 60, **options}
        open_store = store if callable(store) else lambda: store
        self.watcher = Watcher(
            open_store, "gw-1", self.catalogue.replace, lambda: self.in_force, self.loop, **options
        )
        self.watcher.start()

    def close(self):
        asyncio.run_coroutine_threadsafe(self.watcher.stop(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()


@pytest.fixture
def watch():
    made = []

    def make(store, **options):
        made.append(Watched(store, **options))
        return made[-1]

    yield make
    for watched in made:
        watched.close()


def test_a_version_is_acknowledged_once_it_is_loaded(watch):
    store = MemoryStore()
    watched = watch(store)
    wait_for(lambda: store.acknowledged)
    store.put(route("a"))
    wait_for(lambda: store.acknowledged[-1] == ("gw-1", 2))
    assert "a" in watched.catalogue.routes
    assert store.acknowledged == [("gw-1", 1), ("gw-1", 2)]


def test_a_gateway_that_stops_says_so_and_is_not_waited_for(watch):
    # Given
    store = MemoryStore()
    watched = watch(store)
    wait_for(lambda: store.acknowledged)
    # When
    asyncio.run_coroutine_threadsafe(watched.watcher.stop(), watched.loop).result(10)
    # Then
    assert store.left == ["gw-1"]


def test_a_heartbeat_repeats_the_version(watch):
    store = MemoryStore()
    watch(store, heartbeat_seconds=0.05)
    wait_for(lambda: len(store.acknowledged) >= 3)
    assert set(store.acknowledged) == {("gw-1", 1)}


def test_changes_are_in_use_at_once_but_acknowledged_only_in_force(watch):
    # Given LiteLLM that is still starting
    store = MemoryStore()
    watched = watch(store, heartbeat_seconds=0.05)
    wait_for(lambda: store.acknowledged)
    watched.in_force = False
    # When routes change, twice
    store.put(route("a"))
    wait_for(lambda: "a" in watched.catalogue.routes)
    store.remove("a")
    wait_for(lambda: "a" not in watched.catalogue.routes)
    # Then the gateway still says that it is alive, with what was in force before
    seen = len(store.acknowledged)
    wait_for(lambda: len(store.acknowledged) > seen)
    assert {version for _, version in store.acknowledged} == {1}
    # When it is in force, Then it says so
    watched.in_force = True
    wait_for(lambda: store.acknowledged[-1] == ("gw-1", 3))


def test_a_change_is_acknowledged_in_the_end_whatever_litellm_does(watch, monkeypatch):
    monkeypatch.setattr("lisa_gateway.catalogue.APPLY_SECONDS", 0.1)
    store = MemoryStore()
    watched = watch(store)
    watched.in_force = False
    store.put(route("a"))
    wait_for(lambda: ("gw-1", 2) in store.acknowledged)


def test_the_last_catalogue_stays_while_the_table_is_down(watch, caplog):
    store = MemoryStore()
    store.put(route("a"))
    watched = watch(store)
    wait_for(lambda: watched.catalogue.loaded)
    store.down = True
    wait_for(lambda: "cannot be read" in caplog.text)
    assert "a" in watched.catalogue.routes
    store.put(route("b"))
    store.down = False
    wait_for(lambda: "b" in watched.catalogue.routes)


def test_a_store_that_cannot_be_opened_yet_is_opened_later(watch):
    # Given credentials that are not there at the first attempts
    store, attempts = MemoryStore(), []

    def open_store():
        attempts.append(1)
        if len(attempts) < 3:
            raise ConnectionError("no credentials")
        return store

    watched = watch(open_store)
    wait_for(lambda: watched.catalogue.loaded)
    assert len(attempts) == 3


def test_an_odd_route_is_left_out_and_the_others_stay():
    catalogue = Catalogue()
    odd = route("odd", target=HostedTarget("llamacpp", "http://127.0.0.1:1", "x\r\nhost: evil"))
    catalogue.replace(1, [odd, route("a")])
    assert list(catalogue.routes) == ["a"]


def test_a_route_that_did_not_change_is_kept():
    catalogue = Catalogue()
    catalogue.replace(1, [route("a"), route("b")])
    before = dict(catalogue.routes)
    catalogue.replace(2, [route("a"), route("b", groups=("g",))])
    assert catalogue.routes["a"] is before["a"]
    assert catalogue.routes["b"] is not before["b"]


@pytest.mark.parametrize(
    ("engine", "mode", "straight", "needs"),
    [
        (
            "llamacpp",
            "chat",
            {"chat/completions", "completions", "responses", "messages", "messages/count_tokens"},
            False,
        ),
        ("onnx", "embedding", {"embeddings"}, False),
        ("tgi", "chat", {"chat/completions", "completions"}, True),
        ("vllm", "embedding", {"embeddings"}, False),
        ("tei", "rerank", {"rerank"}, False),
    ],
)
def test_routes_of_engines(engine, mode, straight, needs):
    live = LiveRoute(route("a", mode=mode, engine=engine))
    assert set(live.heads) == straight
    assert live.needs_litellm is needs


@mock_aws
def test_the_real_store_feeds_a_gateway():
    # Given the table as it is deployed
    client = boto3.client("dynamodb", region_name="us-east-1")
    create_table(client, "models")
    table = RouteStore("models", client)
    with running(real_store=table) as gateway:
        # When a route is put
        version = table.put(route("a", port=gateway.upstream.port))
        # Then it becomes callable and the gateway is seen to have it
        wait_for(lambda: table.live_gateways() and table.acknowledged(version))
        assert gateway.chat(model="a").status == 200
        # When it is removed
        version = table.remove("a")
        wait_for(lambda: table.acknowledged(version))
        # Then it is gone
        assert gateway.chat(model="a").status == 404
