"""Weights reach the bucket once, whole, and only when they are what they should be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from lisa_local import weights
from lisa_local.console import Problem
from moto import mock_aws


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="weights")
        yield client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = tmp_path / "model"
    (model / "1_Pooling").mkdir(parents=True)
    (model / "model.safetensors").write_bytes(b"w" * 1000)
    (model / "1_Pooling" / "config.json").write_text("{}")
    (model / ".git").mkdir()
    (model / ".git" / "HEAD").write_text("ref")
    return model


def test_every_file_of_the_folder_is_uploaded_under_the_models_name(s3: Any, folder: Path) -> None:
    result = weights.push(s3, "weights", weights.files_of(folder, "org/model"))
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket="weights")["Contents"]]
    assert keys == ["org/model/1_Pooling/config.json", "org/model/model.safetensors"]
    assert (result.uploaded, result.unchanged, result.bytes) == (2, 0, 1002)


def test_only_what_changed_is_uploaded_again(s3: Any, folder: Path) -> None:
    # Given
    weights.push(s3, "weights", weights.files_of(folder, "org/model"))
    assert weights.push(s3, "weights", weights.files_of(folder, "org/model")).uploaded == 0

    # When a file changes and keeps its size
    (folder / "model.safetensors").write_bytes(b"v" * 1000)
    result = weights.push(s3, "weights", weights.files_of(folder, "org/model"))

    # Then
    assert (result.uploaded, result.unchanged) == (1, 1)
    assert s3.get_object(Bucket="weights", Key="org/model/model.safetensors")["Body"].read() == b"v" * 1000


@pytest.mark.parametrize("name", ["", "/model", "org//model", "../other", "org/..", "a\\b"])
def test_a_name_that_cannot_be_one_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(Problem, match="is no model name"):
        weights.files_of(folder, name)


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="is not a folder"):
        weights.files_of(tmp_path / "nowhere", "org/model")
    (tmp_path / "empty").mkdir()
    with pytest.raises(Problem, match="holds no files"):
        weights.files_of(tmp_path / "empty", "org/model")


def test_a_bucket_that_cannot_be_written_to_is_said(s3: Any, folder: Path) -> None:
    with pytest.raises(Problem, match="cannot be uploaded to elsewhere"):
        weights.push(s3, "elsewhere", weights.files_of(folder, "org/model"))
