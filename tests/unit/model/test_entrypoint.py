"""`python -m lisa_model` as a process: its exit codes, its last words, its health command."""

import os
import subprocess

import pytest

from tests.unit.model.conftest import embedding_process
from tests.unit.model.process import PACKAGE, PYTHON, ModelProcess, free_port


def health(port: int, host: str) -> subprocess.CompletedProcess:
    environment = {"PYTHONPATH": str(PACKAGE), "PATH": os.environ["PATH"], "PORT": str(port), "HOST": host}
    return subprocess.run(
        [PYTHON, "-m", "lisa_model", "health"], env=environment, capture_output=True, check=False
    )


def test_a_wrong_setting_ends_with_code_64_and_a_sentence(tmp_path):
    process = ModelProcess(tmp_path, "http://127.0.0.1:1", LISA_ENGINE="ollama", LISA_MODEL_ID="m")
    assert process.ended() == 64
    assert process.lines() == ["LISA_ENGINE is 'ollama': use one of vllm, tgi, tei, llamacpp, onnx."]


def test_a_wrong_engine_argument_is_said_before_anything_is_fetched(weights_bucket, tmp_path):
    process = embedding_process(tmp_path, weights_bucket, LISA_ENGINE_ARGS='{"thread": 1}')
    assert process.ended() == 64
    assert "Did you mean 'threads'?" in process.lines()[-1]
    assert not (tmp_path / "weights").exists()


def test_missing_weights_end_with_code_65_and_a_sentence(s3, tmp_path):
    process = embedding_process(tmp_path, s3)
    assert process.ended() == 65
    assert process.lines()[-1].startswith("There are no weights at s3://weights/org/embedding/: upload")


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("config.json", b'{"model_type": "qwen3"}', "architecture is 'qwen3'"),
        ("config.json", b'{"model_type": "bert", "hidden_act": "relu"}', "hidden_act is 'relu'"),
        ("config.json", b'{"model_type": "bert"}', "cannot be used"),
        ("config.json", b"<html>", "config.json of the model is not JSON"),
        (
            "model.safetensors",
            b"version https://git-lfs.github.com/spec/v1",
            "model.safetensors cannot be read",
        ),
        ("1_Pooling/config.json", b'{"pooling_mode_max_tokens": true}', "pools by pooling_mode_max_tokens"),
        ("modules.json", b'[{"type": "sentence_transformers.models.Dense"}]', "module 'Dense'"),
    ],
)
def test_a_model_that_the_engine_cannot_serve_ends_with_code_65(
    s3, weights_bucket, tmp_path, file, content, says
):
    # Given the embedding model with one file replaced
    s3.objects.update(weights_bucket.objects)
    s3.put(f"org/embedding/{file}", content)
    # When
    process = embedding_process(tmp_path, s3)
    # Then
    assert process.ended() == 65
    assert says in process.lines()[-1]


def test_a_context_window_beyond_the_models_positions_is_a_wrong_setting(weights_bucket, models_folder):
    process = embedding_process(models_folder, weights_bucket, LISA_CONTEXT_WINDOW="513")
    assert process.ended() == 64
    assert "has 512 positions at most" in process.lines()[-1]


def test_an_engine_that_the_image_does_not_have_is_named(s3, tmp_path):
    for file in ("config.json", "model.safetensors"):
        s3.put(f"org/model/{file}", b"{}")
    process = ModelProcess(
        tmp_path,
        s3.url,
        LISA_MODEL_ID="m",
        LISA_ENGINE="vllm",
        LISA_WEIGHTS_URI="s3://weights/org/model/",
    )
    assert process.ended() == 64
    assert process.lines()[-1] == "This image has no 'vllm': use an image for the engine vllm."


def test_the_engine_gets_the_models_own_environment(s3, tmp_path):
    # Given an image whose `vllm` says what it was started with
    for file in ("config.json", "model.safetensors"):
        s3.put(f"org/model/{file}", b"{}")
    program = tmp_path / "bin" / "vllm"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$VLLM_LOGGING_LEVEL $HF_HUB_OFFLINE $1 $(cat "$2/config.json")"\n')
    program.chmod(0o755)
    # When
    process = ModelProcess(
        tmp_path,
        s3.url,
        PATH=f"{program.parent}:{os.environ['PATH']}",
        LISA_MODEL_ID="m",
        LISA_ENGINE="vllm",
        LISA_WEIGHTS_URI="s3://weights/org/model/",
        LISA_CONTAINER_ENVIRONMENT='{"VLLM_LOGGING_LEVEL": "DEBUG"}',
    )
    # Then
    assert process.ended() == 0
    assert process.lines()[-1] == "DEBUG 1 serve {}"


def test_s3_that_does_not_answer_ends_with_a_code_that_is_worth_a_retry(tmp_path):
    process = ModelProcess(
        tmp_path,
        f"http://127.0.0.1:{free_port()}",
        LISA_MODEL_ID="m",
        LISA_ENGINE="onnx",
        LISA_MODEL_TYPE="embedding",
        LISA_WEIGHTS_URI="s3://weights/org/model/",
    )
    assert process.ended(60) == 75
    assert process.lines()[-1].startswith("Cannot list s3://weights/org/model/")


def test_it_ends_at_once_when_stopped_while_it_fetches(s3, tmp_path):
    import threading

    # Given a fetch that hangs
    reading, release = threading.Event(), threading.Event()

    def fault(key, first, wanted):
        reading.set()
        release.wait(20)
        return wanted

    s3.fault = fault
    for file in ("config.json", "tokenizer.json", "model.safetensors"):
        s3.put(f"org/embedding/{file}", b"x" * 100)
    process = embedding_process(tmp_path, s3)
    assert reading.wait(20)
    # When
    seconds = process.stop()
    release.set()
    # Then
    assert seconds < 2
    assert process.ended() == 128 + 15


def test_health_says_whether_the_server_serves(embedding):
    assert health(embedding.port, "127.0.0.1").returncode == 0
    down = health(free_port(), "0.0.0.0")
    assert down.returncode == 1
    assert b"not serving" in down.stderr
