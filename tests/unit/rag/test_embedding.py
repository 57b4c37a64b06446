from collections.abc import Iterator

import boto3
import numpy as np
import pytest
from lisa import aws
from lisa.errors import InvalidRequest, NotFound, Unavailable
from lisa.identity.service_key import is_same_key
from lisa.rag.embedding import BATCH_CHARACTERS, BATCH_TEXTS, Embedder, embedder
from moto import mock_aws

from tests.unit.rag.gateway import Answer, Gateway


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    server = Gateway()
    yield server
    server.close()


@pytest.fixture
def client(gateway: Gateway) -> Embedder:
    return Embedder(gateway.url, lambda: "the-key")


def error(status: int, message: str, code: str | None = None, **headers: str) -> Answer:
    return Answer(status, {"error": {"message": message, "code": code}}, headers)


def test_a_row_for_each_text_in_order(gateway, client):
    texts = [chr(97 + number % 26) * (number + 1) for number in range(BATCH_TEXTS * 2 + 3)]
    vectors = client.embed("mini", texts)
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [gateway.vector(text) for text in texts]
    assert {asked.body["model"] for asked in gateway.asked} == {"mini"}


def test_numbers_are_read_as_well_as_base64(gateway, client):
    gateway.as_text = False
    assert client.embed("mini", ["ab"]).tolist() == [[2.0, 97.0, 1.0]]


def test_batches_are_bounded_by_texts_and_by_characters(gateway, client):
    client.embed("mini", ["a"] * (BATCH_TEXTS + 1))
    assert sorted(len(asked.body["input"]) for asked in gateway.asked) == [1, BATCH_TEXTS]
    gateway.asked.clear()
    client.embed("mini", ["a" * (BATCH_CHARACTERS // 2 + 1)] * 3 + ["a" * (BATCH_CHARACTERS + 1)])
    assert [len(asked.body["input"]) for asked in gateway.asked] == [1, 1, 1, 1]


def test_connections_are_kept(gateway, client):
    for _ in range(5):
        client.embed("mini", ["a"])
    assert (len(gateway.asked), gateway.connections) == (5, 1)


def test_a_connection_that_is_lost_once_is_opened_again(gateway, client):
    gateway.hang_up = 1
    assert client.embed("mini", ["ab"]).tolist() == [[2.0, 97.0, 1.0]]


def test_the_service_key_is_sent_and_asked_for_again_when_it_was_changed(gateway):
    # Given a gateway that knows the new key only
    keys = iter(["old", "new", "not asked for"])
    embedder = Embedder(gateway.url, lambda: next(keys))
    gateway.instead = lambda asked: None if asked.key == "new" else error(401, "no")
    # When
    embedder.embed("mini", ["a"])
    embedder.embed("mini", ["b"])
    # Then
    assert [asked.key for asked in gateway.asked] == ["old", "new", "new"]


def test_the_processs_own_sends_the_key_of_its_secret(gateway, monkeypatch):
    # Given the secret that CloudFormation made
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "none")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "none")
    with mock_aws():
        secret = boto3.client("secretsmanager").create_secret(Name="key", SecretString="0123456789")
        monkeypatch.setattr(aws, "secrets_manager", lambda: boto3.client("secretsmanager"))
        monkeypatch.setenv("LISA_GATEWAY_URL", gateway.url)
        monkeypatch.setenv("LISA_SERVICE_KEY_SECRET", secret["ARN"])
        embedder.cache_clear()
        # When
        embedder().embed("mini", ["a"])
        embedder.cache_clear()
    # Then the gateway would take it
    assert is_same_key(gateway.asked[0].key, "0123456789")


def test_dimensions_are_asked_once(gateway, client):
    assert [client.dimensions("mini"), client.dimensions("mini")] == [3, 3]
    assert len(gateway.asked) == 1
    assert client.embed("mini", []).shape == (0, 3)


def test_a_model_that_is_gone_is_named(gateway, client):
    gateway.instead = lambda asked: error(404, "The model `mini` does not exist.", "model_not_found")
    with pytest.raises(NotFound, match="no model mini"):
        client.embed("mini", ["a"])


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (error(429, "Too many requests.", **{"Retry-After": "7"}), 7),
        (error(503, "`mini` is not available."), 5),
        (Answer(502, b"<html>bad gateway</html>"), 5),
        (Answer(500, ["no object"]), 5),
        (error(401, "The key is refused."), 5),
    ],
)
def test_what_only_time_can_mend_is_unavailable_with_seconds(gateway, client, answer, seconds):
    gateway.instead = lambda asked: answer
    with pytest.raises(Unavailable, match="mini") as raised:
        client.embed("mini", ["a"])
    assert raised.value.retry_after == seconds


def test_a_gateway_that_is_down_is_unavailable(gateway, client):
    gateway.close()
    with pytest.raises(Unavailable, match="does not answer") as raised:
        client.embed("mini", ["a"])
    assert raised.value.retry_after == 5


def test_a_text_that_the_model_refuses_is_the_callers_fault(gateway, client):
    gateway.instead = lambda asked: error(
        400, "This model's context is at most 256 tokens.", "context_length_exceeded"
    )
    with pytest.raises(InvalidRequest, match="256 tokens"):
        client.embed("mini", ["a"])


@pytest.mark.parametrize(
    "body",
    [
        b"no json",
        [],
        {"data": None},
        {"data": [{"index": 0}]},
        {"data": [{"index": 0, "embedding": "!"}]},
        {"data": [{"index": 0, "embedding": [1.0]}]},  # one vector for two texts
        {"data": [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [1.0, 2.0]}]},
        {"data": [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [float("nan")]}]},
    ],
)
def test_an_answer_that_cannot_be_used_is_never_taken_for_vectors(gateway, client, body):
    gateway.instead = lambda asked: Answer(200, body)
    with pytest.raises(Unavailable, match="cannot be used"):
        client.embed("mini", ["a", "b"])


def test_reranking_answers_in_the_order_of_the_texts(gateway, client):
    assert client.rerank("ranker", "what", ["aaa", "a", "aaaaaaa"]) == [0.25, 0.5, 0.125]
    assert gateway.asked[0].body == {
        "model": "ranker",
        "query": "what",
        "documents": ["aaa", "a", "aaaaaaa"],
        "top_n": 3,
        "return_documents": False,
    }
    assert client.rerank("ranker", "what", []) == []


@pytest.mark.parametrize(
    "results",
    [None, [{"index": 0, "relevance_score": 1.0}], [{"index": 0}, {"index": 1}], ["a", "b"]],
)
def test_a_ranking_that_cannot_be_used_is_never_taken_for_one(gateway, client, results):
    gateway.instead = lambda asked: Answer(200, {"results": results})
    with pytest.raises(Unavailable, match="cannot be used"):
        client.rerank("ranker", "what", ["a", "b"])
