"""llama.cpp as the container runs it, with the small chat model."""

import http.client
import json
import threading
import urllib.request

import pytest

from tests.unit.model.conftest import chat_process


@pytest.mark.parametrize(
    ("path", "body", "model"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3}, "model"),
        ("/v1/completions", {"prompt": "Once", "max_tokens": 3}, "model"),
        ("/v1/responses", {"input": "Hi", "max_output_tokens": 3}, "model"),
        ("/v1/messages", {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3}, "model"),
    ],
)
def test_each_route_answers_and_names_the_model(chat, path, body, model):
    answer = chat.post(path, body | {"model": "tiny-chat"})
    assert answer.status == 200
    assert answer.json()[model] == "tiny-chat"


def test_tokens_are_counted_in_anthropics_shape(chat):
    body = {"model": "tiny-chat", "messages": [{"role": "user", "content": "Hi there"}]}
    assert chat.post("/v1/messages/count_tokens", body).json()["input_tokens"] > 2


def test_a_stream_ends_with_usage_and_done(chat):
    # Given
    body = {
        "messages": [{"role": "user", "content": "Count to five"}],
        "max_tokens": 5,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    # When
    answer = chat.post("/v1/chat/completions", body)
    # Then
    assert answer.headers["Content-Type"] == "text/event-stream"
    events = [line.removeprefix("data: ") for line in answer.body.decode().split("\n\n") if line]
    assert events[-1] == "[DONE]"
    assert json.loads(events[-2])["usage"]["completion_tokens"] == 5
    assert {json.loads(event)["model"] for event in events[:-1]} == {"tiny-chat"}


def test_a_prompt_over_the_context_window_is_a_400_with_the_limit(chat):
    answer = chat.post("/v1/chat/completions", {"messages": [{"role": "user", "content": "word " * 9000}]})
    assert answer.status == 400
    error = answer.json()["error"]
    assert (error["type"], error["n_ctx"]) == ("exceed_context_size_error", 8192)
    assert error["n_prompt_tokens"] > 9000


def test_what_others_ask_is_not_shown(chat):
    assert chat.get("/slots").status != 200
    assert chat.get("/props").json().get("default_generation_settings", {}).get("prompt") is None


def test_metrics_are_in_prometheus_format(chat):
    chat.post("/v1/completions", {"prompt": "Once", "max_tokens": 1})
    lines = chat.get("/metrics").body.decode().splitlines()
    assert any(line.startswith("llamacpp:tokens_predicted_total ") for line in lines)


def test_a_context_window_is_kept(weights_bucket, models_folder):
    process = chat_process(models_folder, weights_bucket, LISA_CONTEXT_WINDOW="512")
    process.ready()
    answer = process.post("/v1/completions", {"prompt": "word " * 600, "max_tokens": 1})
    process.kill()
    assert (answer.status, answer.json()["error"]["n_ctx"]) == (400, 512)


def test_an_answer_without_a_limit_of_its_own_ends_at_the_engines(weights_bucket, models_folder):
    # Given
    process = chat_process(models_folder, weights_bucket, LISA_ENGINE_ARGS='{"max-tokens": 5}')
    process.ready()
    ask = {"prompt": "one two three four five six", "ignore_eos": True}
    # When
    unlimited = process.post("/v1/completions", ask).json()
    limited = process.post("/v1/completions", {**ask, "max_tokens": 9}).json()
    process.kill()
    # Then
    assert unlimited["usage"]["completion_tokens"] == 5
    assert unlimited["choices"][0]["finish_reason"] == "length"
    assert limited["usage"]["completion_tokens"] == 9


def test_it_stops_within_five_seconds_with_a_request_in_flight(weights_bucket, models_folder):
    # Given
    process = chat_process(models_folder, weights_bucket)
    process.ready()
    answering = threading.Event()

    def ask() -> None:
        body = {"prompt": "Once upon a time", "max_tokens": 100_000, "stream": True, "ignore_eos": True}
        request = urllib.request.Request(
            f"http://127.0.0.1:{process.port}/v1/completions", json.dumps(body).encode(), method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                answer.readline()
                answering.set()
                answer.read()
        except (OSError, http.client.HTTPException):
            pass  # cut off, as it should be

    client = threading.Thread(target=ask)
    client.start()
    assert answering.wait(30)
    # When
    seconds = process.stop()
    client.join()
    # Then
    assert seconds < 5
    assert process.ended() == 0


def test_a_short_answer_is_given_to_its_end_after_sigterm(weights_bucket, models_folder):
    # Given
    process = chat_process(models_folder, weights_bucket)
    process.ready()
    body = {"prompt": "Once upon a time", "max_tokens": 4, "stream": True, "ignore_eos": True}
    request = urllib.request.Request(
        f"http://127.0.0.1:{process.port}/v1/completions", json.dumps(body).encode(), method="POST"
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        first = answer.readline()
        # When
        seconds = process.stop()
        rest = answer.read()
    # Then
    assert first.startswith(b"data: ")
    assert rest.endswith(b"data: [DONE]\n\n")
    assert seconds < 5


def test_a_broken_file_ends_with_code_65_and_a_sentence(s3, tmp_path):
    s3.put("org/chat/model.gguf", b"GGUF" + b"\0" * 100)
    process = chat_process(tmp_path, s3)
    assert process.ended() == 65
    assert "llama.cpp could not load model.gguf" in process.lines()[-1]
