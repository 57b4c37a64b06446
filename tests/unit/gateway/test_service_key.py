"""The key of our own functions: two routes, every model, and nothing else."""

import asyncio
import threading

import pytest
from lisa.errors import Unauthenticated, Unavailable
from lisa.identity import RULES, Who
from lisa.identity.service_key import SERVICE, service_key
from lisa_gateway.retrieval.service_key import REREAD_SECONDS, ServiceKey

from tests.access.samples import sample_for
from tests.unit.gateway.harness import document, route, running, wait_for

SECRET = "s" * 64
KEY = service_key(SECRET)
VECTORS = {
    "object": "list",
    "model": "e",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.1]}],
    "usage": {"prompt_tokens": 4, "total_tokens": 4},
}
PREFIXES = ("/v1", "/v2/serve", "/v2/serve/v1")


@pytest.fixture(scope="module")
def gateway():
    def routes(port):
        return [
            route("e", mode="embedding", engine="onnx", groups=("team-a",), port=port),
            route("tei", mode="rerank", engine="tei", groups=("team-b",), port=port),
            route("matrix-team-a", groups=("team-a",), port=port),
        ]

    secrets = {"arn:of-the-key": SECRET}
    with running(routes=routes, read_secret=secrets.__getitem__, service_key_secret="arn:of-the-key") as it:
        it.upstream.reply = document(VECTORS)
        yield it


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("header", ["Authorization", "Api-Key", "x-api-key"])
def test_it_embeds_with_a_model_of_any_group_by_every_header(gateway, prefix, header):
    body = {"model": "e", "input": "x"}
    answer = gateway.request("POST", prefix + "/embeddings", token=None, headers={header: KEY}, body=body)
    assert answer.status == 200
    assert answer.json["data"] == VECTORS["data"]


def test_it_reranks(gateway):
    body = {"model": "tei", "query": "x", "documents": ["a"]}
    assert gateway.request("POST", "/v1/rerank", token=KEY, body=body).status == 200


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.door == "gateway"], ids=str)
def test_every_other_route_is_closed_to_it(gateway, rule):
    sample = sample_for(rule)
    answer = gateway.request(
        rule.method, sample.path, token=KEY, raw=sample.body, headers={"content-type": sample.content_type}
    )
    if rule.who is Who.PUBLIC:
        assert answer.status in sample.answers
    elif rule.path.endswith(("/embeddings", "/rerank")):
        assert answer.status == 400  # the sample is wrong on purpose: a field is missing
    else:
        assert answer.status == 403


@pytest.mark.parametrize(
    "wrong", [KEY[:-1], KEY + "s", KEY[:-1] + "t", "lisa-service-", SECRET, "lisa-service-é"]
)
def test_a_key_that_is_not_quite_it_is_nobodys(gateway, wrong):
    headers = {b"authorization".decode(): f"Bearer {wrong}"}
    answer = gateway.request("POST", "/v1/embeddings", headers=headers, body={"model": "e", "input": "x"})
    assert answer.status == 401
    assert answer.error["code"] == "invalid_api_key"


def test_its_use_is_recorded_under_its_own_name_and_the_key_nowhere(gateway):
    gateway.queue.messages.clear()
    gateway.request("POST", "/v1/embeddings", token=KEY, body={"model": "e", "input": "x"})
    gateway.request("POST", "/v1/embeddings", token=KEY + "x", body={"model": "e", "input": "x"})
    recorded = wait_for(lambda: [m for m in gateway.queue.messages if "lisa-retrieval" in str(m)])
    assert recorded
    gateway.lines()
    written = gateway.log.getvalue().decode()
    assert '"lisa-retrieval"' in written
    assert SECRET not in written
    assert SECRET not in str(gateway.audit.events)
    assert SECRET not in str(gateway.queue.messages)


def test_without_a_secret_no_key_is_accepted():
    with running() as gateway:
        for key in (KEY, "lisa-service-"):
            assert (
                gateway.request("POST", "/v1/embeddings", token=key, body={"model": "m", "input": "x"}).status
                == 401
            )


PATH = "/v1/embeddings"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Vault:
    """Secrets Manager, as far as one secret goes."""

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self.readings = 0
        self.down = False
        self.open = threading.Event()
        self.open.set()

    def read(self) -> str:
        self.readings += 1
        self.open.wait(10)
        if self.down:
            raise ConnectionError("no Secrets Manager")
        return self.secret


def test_a_new_secret_is_taken_up_without_a_restart():
    async def play():
        vault, clock = Vault("old"), Clock()
        keys = ServiceKey(vault.read, frozenset({PATH}), clock=clock)
        assert await keys.principal(service_key("old"), PATH) is SERVICE
        vault.secret = "new"
        clock.now += REREAD_SECONDS
        assert await keys.principal(service_key("new"), PATH) is SERVICE
        with pytest.raises(Unauthenticated):
            await keys.principal(service_key("old"), PATH)

    asyncio.run(play())


def test_made_up_keys_cost_one_reading_at_a_time_and_in_so_many_seconds():
    async def play():
        vault, clock = Vault("right"), Clock()
        keys = ServiceKey(vault.read, frozenset({PATH}), clock=clock)
        for _ in range(2):
            found = await asyncio.gather(
                *(keys.principal(service_key(f"made-up-{n}"), PATH) for n in range(50)),
                return_exceptions=True,
            )
            assert {type(each) for each in found} == {Unauthenticated}
        assert vault.readings == 1
        clock.now += REREAD_SECONDS
        with pytest.raises(Unauthenticated):
            await keys.principal(service_key("made-up"), PATH)
        assert vault.readings == 2

    asyncio.run(play())


def test_a_secret_that_cannot_be_read_is_no_verdict():
    async def play():
        vault, clock = Vault("right"), Clock()
        vault.down = True
        keys = ServiceKey(vault.read, frozenset({PATH}), clock=clock)
        with pytest.raises(Unavailable):
            await keys.principal(service_key("right"), PATH)
        vault.down = False
        clock.now += REREAD_SECONDS
        assert await keys.principal(service_key("right"), PATH) is SERVICE

    asyncio.run(play())


def test_who_leaves_does_not_end_the_reading_for_the_others():
    async def play():
        vault = Vault("right")
        vault.open.clear()
        keys = ServiceKey(vault.read, frozenset({PATH}))
        keys.start()
        leaving = asyncio.create_task(keys.principal(service_key("right"), PATH))
        staying = asyncio.create_task(keys.principal(service_key("right"), PATH))
        await asyncio.sleep(0)
        leaving.cancel()
        vault.open.set()
        assert await staying is SERVICE
        assert vault.readings == 1

    asyncio.run(play())
