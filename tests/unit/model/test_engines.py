"""What each engine accepts, and the command line that it is started with."""

import json
from pathlib import Path

import pytest
from lisa_model.engines import ENGINES
from lisa_model.errors import ConfigurationError, WeightsError
from lisa_model.settings import Settings
from lisa_model.weights import RemoteObject, Snapshot


def settings(engine: str, model_type: str = "textgen", context: str = "", **arguments) -> Settings:
    return Settings.from_environment(
        {
            "LISA_MODEL_ID": "my-model",
            "LISA_ENGINE": engine,
            "LISA_MODEL_TYPE": model_type,
            "LISA_WEIGHTS_URI": "s3://weights/org/model/",
            "LISA_CONTEXT_WINDOW": context,
            "LISA_ENGINE_ARGS": json.dumps(arguments),
        }
    )


def objects(*paths: str) -> list[RemoteObject]:
    return [RemoteObject(f"org/model/{path}", path, "etag", 1) for path in paths]


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    for folder in ("weights", "derived"):
        (tmp_path / folder).mkdir()
    return Snapshot(tmp_path / "weights", tmp_path / "derived", -1)


def command(
    snapshot: Snapshot, engine: str, model_type: str = "textgen", context: str = "", **arguments
) -> list[str]:
    wanted = settings(engine, model_type, context, **arguments)
    ENGINES[engine].check(wanted)
    return list(ENGINES[engine].launch(wanted, snapshot).command)


def test_vllm_serves_the_local_copy_under_the_models_id(snapshot):
    assert command(snapshot, "vllm", context="4096") == [
        "vllm",
        "serve",
        str(snapshot.path),
        "--served-model-name=my-model",
        "--host=0.0.0.0",
        "--port=8080",
        "--max-model-len=4096",
    ]


def test_vllm_keeps_connections_longer_than_the_load_balancer(snapshot):
    launch = ENGINES["vllm"].launch(settings("vllm", "textgen", ""), snapshot)
    assert int(launch.environment["VLLM_HTTP_TIMEOUT_KEEP_ALIVE"]) > 900


def test_vllm_takes_its_own_arguments(snapshot):
    given = {
        "tensor-parallel-size": 4,
        "gpu_memory_utilization": 0.85,
        "--enable-prefix-caching": False,
        "enforce-eager": True,
        "speculative-config": {"method": "ngram", "num_speculative_tokens": 3},
        "chat-template": "templates/chat.jinja",
    }
    assert command(snapshot, "vllm", **given)[-6:] == [
        "--tensor-parallel-size=4",
        "--gpu-memory-utilization=0.85",
        "--no-enable-prefix-caching",
        "--enforce-eager",
        '--speculative-config={"method":"ngram","num_speculative_tokens":3}',
        f"--chat-template={snapshot.path}/templates/chat.jinja",
    ]


def test_vllm_runs_an_embedding_model_as_one(snapshot):
    assert "--runner=pooling" in command(snapshot, "vllm", "embedding")
    assert "--runner=pooling" not in command(snapshot, "vllm", "embedding", runner="generate")


def test_gpu_engines_ask_nothing_of_a_model_hub(snapshot):
    for engine, kind in (("vllm", "textgen"), ("tgi", "textgen"), ("tei", "embedding")):
        assert ENGINES[engine].launch(settings(engine, kind), snapshot).environment["HF_HUB_OFFLINE"] == "1"


def test_tgi_gets_the_context_window_as_the_limit_of_all_tokens(snapshot):
    assert command(
        snapshot, "tgi", context="2048", **{"num-shard": 2, "sharded": True, "trust-remote-code": False}
    ) == [
        "text-generation-launcher",
        f"--model-id={snapshot.path}",
        "--hostname=0.0.0.0",
        "--port=8080",
        "--max-total-tokens=2048",
        "--num-shard=2",
        "--sharded",
    ]


def test_tei_serves_under_the_models_id(snapshot):
    assert command(snapshot, "tei", "embedding", **{"auto-truncate": True}) == [
        "text-embeddings-router",
        f"--model-id={snapshot.path}",
        "--served-model-name=my-model",
        "--hostname=0.0.0.0",
        "--port=8080",
        "--auto-truncate",
    ]


def test_llamacpp_serves_the_one_gguf_file(snapshot):
    (snapshot.path / "model.gguf").write_bytes(b"GGUF...")
    (snapshot.path / "mmproj-model.gguf").write_bytes(b"GGUF...")
    options = command(snapshot, "llamacpp", context="512", parallel=2)
    assert options[1:3] == ["-m", "lisa_model.llamacpp_server"]
    assert f"--model={snapshot.path}/model.gguf" in options
    assert {"--alias=my-model", "--context=512", "--parallel=2"} <= set(options)


def test_llamacpp_loads_a_model_in_shards_by_the_first(snapshot):
    for number in (1, 2, 3):
        (snapshot.path / f"big-{number:05}-of-00003.gguf").write_bytes(b"GGUF")
    assert f"--model={snapshot.path}/big-00001-of-00003.gguf" in command(snapshot, "llamacpp")


def test_llamacpp_asks_which_of_several_files(snapshot):
    for name in ("q4.gguf", "q8.gguf"):
        (snapshot.path / name).write_bytes(b"GGUF")
    with pytest.raises(WeightsError, match="name one with the engine argument 'file'"):
        command(snapshot, "llamacpp")
    assert f"--model={snapshot.path}/q8.gguf" in command(snapshot, "llamacpp", file="q8.gguf")
    with pytest.raises(ConfigurationError, match=r"q4\.gguf, q8\.gguf"):
        command(snapshot, "llamacpp", file="q2.gguf")


def test_llamacpp_refuses_a_file_that_only_looks_like_one(snapshot):
    (snapshot.path / "model.gguf").write_bytes(b"version https://git-lfs")
    with pytest.raises(WeightsError, match="not a GGUF file"):
        command(snapshot, "llamacpp")


@pytest.mark.parametrize(
    ("engine", "paths", "says"),
    [
        ("llamacpp", ["config.json", "model.safetensors"], "no .gguf file"),
        ("onnx", ["model.gguf"], "no config.json, no tokenizer.json, no model.safetensors"),
        ("vllm", ["model.gguf"], "no config.json"),
        ("vllm", ["config.json", "tokenizer.json"], "neither *.safetensors nor *.bin"),
        ("tgi", ["weights.onnx"], "no config.json"),
        ("tei", ["README.md"], "no config.json"),
    ],
)
def test_weights_in_the_wrong_format_are_refused_before_they_are_fetched(engine, paths, says):
    with pytest.raises(WeightsError) as raised:
        ENGINES[engine].choose(objects(*paths))
    assert says in str(raised.value)


def test_second_copies_of_the_weights_are_not_fetched():
    everything = objects(
        "config.json",
        "model-1.safetensors",
        "pytorch_model.bin",
        "original/consolidated.pth",
        "onnx/model.onnx",
    )
    chosen = [item.path for item in ENGINES["vllm"].choose(everything)]
    assert chosen == ["config.json", "model-1.safetensors"]


def test_the_cpu_engines_fetch_only_what_they_read():
    paths = [
        "README.md",
        "config.json",
        "tokenizer.json",
        "model.safetensors",
        "1_Pooling/config.json",
        "m.gguf",
    ]
    assert "README.md" not in [item.path for item in ENGINES["onnx"].choose(objects(*paths))]
    assert [item.path for item in ENGINES["llamacpp"].choose(objects(*paths))] == ["m.gguf"]


@pytest.mark.parametrize(
    ("engine", "model_type", "arguments", "says"),
    [
        ("vllm", "textgen", {"tensor-paralel-size": 2}, "Did you mean 'tensor-parallel-size'?"),
        ("vllm", "textgen", {"tensor-parallel-size": "2"}, "a whole number of at least 1"),
        ("vllm", "textgen", {"tensor-parallel-size": True}, "a whole number of at least 1"),
        ("vllm", "textgen", {"gpu-memory-utilization": 1.5}, "a number from 0.05 to 1"),
        ("vllm", "textgen", {"dtype": "int3"}, "bfloat16"),
        ("vllm", "textgen", {"quantization": "--api-key"}, "a name"),
        ("vllm", "textgen", {"chat-template": "/etc/passwd"}, "among the weights"),
        ("vllm", "textgen", {"chat-template": "../../x"}, "among the weights"),
        ("vllm", "textgen", {"api-key": "x"}, "does not take the argument 'api-key'"),
        ("vllm", "textgen", {"host": "0.0.0.0"}, "does not take the argument 'host'"),
        ("vllm", "textgen", {"middleware": "os.system"}, "does not take"),
        ("vllm", "textgen", {"served-model-name": "gpt-5"}, "does not take"),
        ("tgi", "embedding", {}, "not embedding: use vllm or tei"),
        ("tei", "textgen", {}, "not textgen: use vllm or tgi"),
        ("tei", "embedding", {"pooling": "max"}, "cls, mean, splade or last-token"),
        ("llamacpp", "embedding", {}, "not embedding: use onnx, tei or vllm"),
        ("llamacpp", "textgen", {"parallel": 0}, "1 to 64"),
        ("onnx", "textgen", {}, "not textgen: use llamacpp or vllm"),
        ("onnx", "embedding", {"threads": 0}, "1 to 256"),
    ],
)
def test_what_an_engine_does_not_take_is_said_in_words(engine, model_type, arguments, says):
    with pytest.raises(ConfigurationError) as raised:
        ENGINES[engine].check(settings(engine, model_type, **arguments))
    assert says in str(raised.value)
