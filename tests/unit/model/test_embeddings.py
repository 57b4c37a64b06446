"""The embedding server as the container runs it, with the small embedding model."""

import base64
import http.client
import json
import math
import struct
import subprocess
import threading
import time

import pytest

from tests.unit.model.conftest import EMBEDDING_WEIGHTS, embedding_process
from tests.unit.model.process import PYTHON, ModelProcess

TEXTS = ["A man is eating food.", "Someone has a meal.", "The girl is carrying a baby.", "hello world"]


def embed(server: ModelProcess, value, **fields) -> list[list[float]]:
    answer = server.post("/v1/embeddings", {"model": "tiny-embedding", "input": value, **fields})
    assert answer.status == 200, answer.body
    return [item["embedding"] for item in answer.json()["data"]]


def similarity(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def test_vectors_equal_a_forward_pass_written_out_in_numpy(embedding):
    # Given the model's equations, computed without ONNX
    code = [
        PYTHON,
        str(__file__.replace("test_embeddings.py", "reference_encoder.py")),
        str(EMBEDDING_WEIGHTS),
    ]
    expected = json.loads(
        subprocess.run(code, input=json.dumps(TEXTS).encode(), stdout=-1, check=True).stdout
    )
    # When, all in one batch
    found = embed(embedding, TEXTS)
    # Then
    for ours, theirs in zip(found, expected, strict=True):
        assert len(ours) == 384
        assert max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) < 1e-5


def test_vectors_have_length_one_and_near_texts_are_near(embedding):
    eating, meal, baby, _ = embed(embedding, TEXTS)
    assert math.isclose(similarity(eating, eating), 1.0, abs_tol=1e-5)
    assert similarity(eating, meal) > 0.5 > similarity(eating, baby)


def test_a_vector_does_not_depend_on_the_texts_beside_it(embedding):
    texts = [f"text {number} " * (number % 40 + 1) for number in range(100)]
    together = embed(embedding, texts)
    for number in (0, 39, 50, 99):
        alone = embed(embedding, texts[number])[0]
        assert max(abs(a - b) for a, b in zip(alone, together[number], strict=True)) < 1e-5


def test_base64_holds_the_same_vector(embedding):
    coded = embed(embedding, "hello world", encoding_format="base64")[0]
    numbers = struct.unpack("<384f", base64.b64decode(coded))
    assert numbers == pytest.approx(embed(embedding, "hello world")[0], abs=1e-7)


def test_token_ids_give_the_vector_of_their_text(embedding):
    # Given "hello world", without and with the markers at both ends
    ids = [7592, 2088]
    text = embed(embedding, "hello world")[0]
    for value in (ids, [ids], [[101, *ids, 102]]):
        assert embed(embedding, value)[0] == pytest.approx(text, abs=1e-6)


def test_usage_counts_the_tokens_that_the_model_read(embedding):
    answer = embedding.post("/v1/embeddings", {"input": ["hello world", "hello"]}).json()
    assert answer["usage"] == {"prompt_tokens": 7, "total_tokens": 7}
    assert (answer["model"], [item["index"] for item in answer["data"]]) == ("tiny-embedding", [0, 1])


def test_a_text_over_the_limit_is_refused_with_the_limit(embedding):
    answer = embedding.post("/v1/embeddings", {"input": ["short", "word " * 300]})
    error = answer.json()["error"]
    assert answer.status == 400
    assert (error["code"], error["param"]) == ("context_length_exceeded", "input")
    assert "256 tokens, but input 1 has 302" in error["message"]


@pytest.mark.parametrize("field", [{"truncate_prompt_tokens": -1}, {"truncate": True}])
def test_a_long_text_is_cut_when_the_caller_says_so(embedding, field):
    long, cut = "word " * 300, "word " * 254
    assert embed(embedding, long, **field)[0] == pytest.approx(embed(embedding, cut)[0], abs=1e-5)


def test_a_caller_can_cut_shorter(embedding):
    cut = embed(embedding, "one two three four", truncate_prompt_tokens=4)[0]
    assert cut == pytest.approx(embed(embedding, "one two")[0], abs=1e-5)


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        (b"{", None, "not valid JSON"),
        ([1], None, "JSON object"),
        ({}, "input", "a string, a list of strings"),
        ({"input": []}, "input", "1 to 2048"),
        ({"input": ["a"] * 2049}, "input", "1 to 2048"),
        ({"input": ["a", 1]}, "input", "a string, a list of strings"),
        ({"input": [["a"]]}, "input", "a string, a list of strings"),
        ({"input": [True]}, "input", "a string, a list of strings"),
        ({"input": ["a", ""]}, "input", "input 1 is empty"),
        ({"input": [30522]}, "input", "not in this model's vocabulary of 30522"),
        ({"input": "a", "dimensions": 128}, "dimensions", "must be 384"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format", "'float' or 'base64'"),
        ({"input": "a", "truncate_prompt_tokens": 1}, "truncate_prompt_tokens", "at least 3"),
    ],
)
def test_bad_input_is_a_400_that_names_the_field(embedding, body, param, says):
    answer = embedding.post("/v1/embeddings", body)
    error = answer.json()["error"]
    assert (answer.status, error["type"], error["param"]) == (400, "invalid_request_error", param)
    assert says in error["message"]


def test_another_models_name_is_a_404(embedding):
    answer = embedding.post("/v1/embeddings", {"model": "gpt-4", "input": "a"})
    assert (answer.status, answer.json()["error"]["code"]) == (404, "model_not_found")


def test_a_body_over_the_limit_is_a_413(embedding):
    answer = embedding.post("/v1/embeddings", b'{"input": "' + b"a" * (33 << 20))
    assert answer.status == 413


def test_an_unknown_path_is_a_404_in_the_same_shape(embedding):
    answer = embedding.post("/v1/chat/completions", {})
    assert (answer.status, answer.json()["error"]["code"]) == (404, "not_found")


def test_metrics_count_requests_by_status(embedding):
    embedding.post("/v1/embeddings", {"input": "a"})
    text = embedding.get("/metrics").body.decode()
    assert 'lisa_embedding_requests_total{status="200"}' in text
    assert "lisa_embedding_request_duration_seconds_bucket" in text


def test_a_short_request_is_answered_while_a_long_one_runs(embedding):
    # Given
    order: list[str] = []

    def ask(name: str, value: object) -> None:
        embed(embedding, value)
        order.append(name)

    long = threading.Thread(target=ask, args=("long", ["word " * 250] * 24))
    long.start()
    wait_for_metric(embedding, "lisa_embedding_requests_in_flight 1")
    # When
    ask("short", "hello")
    long.join()
    # Then
    assert order == ["short", "long"]


def test_work_for_a_client_that_left_is_dropped(embedding):
    # Given
    connection = http.client.HTTPConnection("127.0.0.1", embedding.port)
    connection.request("POST", "/v1/embeddings", json.dumps({"input": ["word " * 250] * 240}))
    wait_for_metric(embedding, "lisa_embedding_requests_in_flight 1")
    # When
    connection.close()
    # Then
    wait_for_metric(embedding, 'lisa_embedding_requests_total{status="499"} 1')
    wait_for_metric(embedding, "lisa_embedding_requests_in_flight 0")


def wait_for_metric(server: ModelProcess, line: str, within: float = 5) -> None:
    deadline, pause = time.monotonic() + within, threading.Event()
    while line not in (text := server.get("/metrics").body.decode()):
        assert time.monotonic() < deadline, text
        pause.wait(0.02)


def test_it_stops_within_five_seconds_with_a_request_in_flight(weights_bucket, models_folder):
    # Given
    process = embedding_process(models_folder, weights_bucket)
    process.ready()
    connection = http.client.HTTPConnection("127.0.0.1", process.port)
    connection.request("POST", "/v1/embeddings", json.dumps({"input": ["word " * 250] * 1000}))
    wait_for_metric(process, "lisa_embedding_requests_in_flight 1")
    # When
    seconds = process.stop()
    connection.close()
    # Then
    assert seconds < 5


def test_truncation_can_be_the_models_own_setting(weights_bucket, models_folder):
    process = embedding_process(
        models_folder, weights_bucket, LISA_ENGINE_ARGS='{"truncate": true}', LISA_CONTEXT_WINDOW="16"
    )
    process.ready()
    answer = process.post("/v1/embeddings", {"input": "word " * 300})
    process.kill()
    assert (answer.status, answer.json()["usage"]["prompt_tokens"]) == (200, 16)
