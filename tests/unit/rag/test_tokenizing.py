"""What a model reads of a text, by its own tokenizer from the weights bucket or by an estimate."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from lisa.errors import InvalidRequest, NotFound
from lisa.models.record import ModelRecord
from lisa.models.schema import ModelDefinition
from lisa.rag.tokenizing import Estimate, ModelTokenizer, Tokenizer, Tokenizers
from moto import mock_aws

from tests.unit.rag.minilm import FOLDER, minilm

BUCKET = "weights"
NAME = "sentence-transformers/all-MiniLM-L6-v2"


@pytest.fixture(scope="module")
def tokenizer() -> ModelTokenizer:
    return minilm()


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket=BUCKET)
        yield client


class Models:
    """Rows of models by id."""

    def __init__(self) -> None:
        self.rows: dict[str, ModelRecord] = {}

    def register(self, model_id: str, **fields: Any) -> None:
        definition = ModelDefinition.model_validate({"modelId": model_id, "modelType": "embedding", **fields})
        self.rows[model_id] = ModelRecord(
            definition,
            "InService",
            "present",
            1,
            1,
            created_at=0,
            updated_at=0,
            created_by="admin",
            deadline=0,
        )


HOSTED = {"hostingType": "lisa_hosted", "inferenceContainer": "onnx"}


@pytest.fixture
def models() -> Models:
    return Models()


@pytest.fixture
def now() -> list[float]:
    return [1000.0]


@pytest.fixture
def of(models: Models, s3: Any, tmp_path: Path, now: list[float]) -> Callable[[str], Tokenizer]:
    return Tokenizers(models.rows.get, s3, BUCKET, cache=tmp_path / "cache", clock=lambda: now[0]).of


def push(s3: Any, folder: str = NAME, *, leave_out: tuple[str, ...] = ()) -> None:
    for name in ("config.json", "sentence_bert_config.json", "tokenizer.json", "tokenizer_config.json"):
        if name not in leave_out:
            s3.put_object(Bucket=BUCKET, Key=f"{folder}/{name}", Body=(FOLDER / name).read_bytes())


def test_a_hosted_model_counts_by_its_own_tokenizer(s3: Any, models: Models, of: Any) -> None:
    push(s3)
    models.register("mini", modelName=NAME, **HOSTED)
    found = of("mini")
    # The model reads 256, of which its two markers are none of the text's; its configuration also says 512 and 128.
    assert found.max_tokens == 254
    assert (
        found.count("Retrieval-augmented generation") == minilm().count("Retrieval-augmented generation") > 3
    )
    assert found.counts(["one", "", "one two"]) == [1, 0, 2]


def test_a_context_window_that_is_smaller_holds(s3: Any, models: Models, of: Any) -> None:
    push(s3)
    models.register("mini", modelName=NAME, contextWindow=128, **HOSTED)
    assert of("mini").max_tokens == 126


def test_positions_of_roberta_begin_behind_its_padding(s3: Any, models: Models, of: Any) -> None:
    push(s3, leave_out=("config.json", "sentence_bert_config.json", "tokenizer_config.json"))
    config = {"model_type": "xlm-roberta", "max_position_embeddings": 514, "pad_token_id": 1}
    s3.put_object(Bucket=BUCKET, Key=f"{NAME}/config.json", Body=json.dumps(config).encode())
    models.register("mini", modelName=NAME, **HOSTED)
    assert of("mini").max_tokens == 512 - 2


def test_files_that_know_no_limit_give_a_careful_one(s3: Any, models: Models, of: Any) -> None:
    push(s3, leave_out=("config.json", "sentence_bert_config.json", "tokenizer_config.json"))
    endless = {"model_max_length": 1000000000000000019884624838656}
    s3.put_object(Bucket=BUCKET, Key=f"{NAME}/tokenizer_config.json", Body=json.dumps(endless).encode())
    models.register("mini", modelName=NAME, **HOSTED)
    assert of("mini").max_tokens == 512 - 2


def test_without_a_tokenizer_tokens_are_estimated(s3: Any, models: Models, of: Any) -> None:
    push(s3, leave_out=("tokenizer.json",))
    models.register("mini", modelName=NAME, **HOSTED)
    models.register("ada", modelName="openai/text-embedding-3-small", hostingType="third_party")
    models.register("cohere", modelName="cohere/embed-v3", hostingType="third_party", contextWindow=512)
    assert isinstance(of("mini"), Estimate)
    assert (of("mini").max_tokens, of("ada").max_tokens, of("cohere").max_tokens) == (256, 8191, 512)


def test_an_unknown_model_and_a_broken_tokenizer_are_said(s3: Any, models: Models, of: Any) -> None:
    with pytest.raises(NotFound, match="no model 'gone'"):
        of("gone")
    push(s3)
    s3.put_object(Bucket=BUCKET, Key=f"{NAME}/tokenizer.json", Body=b'{"model": 1}')
    models.register("mini", modelName=NAME, **HOSTED)
    with pytest.raises(InvalidRequest, match=r"tokenizer\.json of the model 'mini' cannot"):
        of("mini")


def test_files_are_fetched_once_and_new_versions_are_seen(
    s3: Any, models: Models, of: Any, now: list[float], tmp_path: Path
) -> None:
    push(s3)
    models.register("mini", modelName=NAME, **HOSTED)
    fetched: list[str] = []
    s3.meta.events.register(
        "before-call.s3.GetObject", lambda params, **_: fetched.append(params["url_path"])
    )

    first = of("mini")
    assert of("mini") is first
    now[0] += 61
    assert of("mini") is first  # the rows and versions are read anew, the files are not
    assert len(fetched) == 4
    other = Tokenizers(models.rows.get, s3, BUCKET, cache=tmp_path / "cache")
    assert other.of("mini").max_tokens == 254
    assert len(fetched) == 4  # another process found them on the disk

    s3.put_object(Bucket=BUCKET, Key=f"{NAME}/sentence_bert_config.json", Body=b'{"max_seq_length": 100}')
    assert of("mini") is first
    now[0] += 61
    assert of("mini").max_tokens == 98
    assert len(fetched) == 5


LONG = "Wherever nine inimitable hyperparameters converge, Größe zählt: 漢字 and 🦙 mixed. " * 400


@pytest.mark.parametrize("tokens", [1, 7, 60, 254, 5000])
@pytest.mark.parametrize("text", [LONG, " " * 9000 + LONG, "x" * 5000, "\ud800" + LONG])
def test_truncation_gives_a_beginning_as_long_as_allowed(
    tokenizer: ModelTokenizer, text: str, tokens: int
) -> None:
    kept, was_cut = tokenizer.truncate(text, tokens)
    assert text.startswith(kept)
    assert tokenizer.count(kept) <= tokens
    assert was_cut == (tokenizer.count(text) > tokens)
    if was_cut:
        assert tokenizer.count(kept) > tokens - 12  # at most a word was given up
    else:
        assert kept == text


def test_nothing_is_cut_from_what_fits(tokenizer: ModelTokenizer) -> None:
    assert tokenizer.truncate("", 10) == ("", False)
    assert tokenizer.truncate("two words", 2) == ("two words", False)
    assert tokenizer.truncate("two words more", 2) == ("two words", True)
    assert tokenizer.truncate("two", 0) == ("", True)


@pytest.mark.parametrize(
    "text", [LONG, "plain English prose, as most of it is. " * 50, "def f(x):\n    return x\n" * 50]
)
def test_the_estimate_is_no_less_than_a_tokenizers_count(tokenizer: ModelTokenizer, text: str) -> None:
    estimate = Estimate(512)
    assert tokenizer.count(text) <= estimate.count(text) < 3 * tokenizer.count(text)


@pytest.mark.parametrize("text", ["漢字" * 100, "a" * 100, "\ud800" * 100, "🦙" * 100])
def test_an_estimated_truncation_splits_no_character(text: str) -> None:
    estimate = Estimate(512)
    kept, was_cut = estimate.truncate(text, 5)
    assert was_cut
    assert text.startswith(kept)
    assert 0 < estimate.count(kept) <= 5
    assert estimate.truncate(text, 1000) == (text, False)
