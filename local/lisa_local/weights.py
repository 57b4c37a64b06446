"""Model weights into a weights bucket: in parallel, with checksums, only what changed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import BotoCoreError, ClientError

from lisa_local.console import Problem, megabytes

# The object metadata that carries the SHA-256 of the whole file: S3's own checksum of a multipart upload is
# one over the parts' checksums, and its ETag depends on their size.
SHA256_METADATA = "sha256"
_TRANSFER = TransferConfig(multipart_threshold=64 * 2**20, multipart_chunksize=64 * 2**20, max_concurrency=4)
_PARALLEL_FILES = 4
_IGNORED = {".git", ".gitattributes", ".cache", "__pycache__", ".DS_Store"}


@dataclass(frozen=True)
class WeightsFile:
    path: Path
    key: str
    size: int

    def sha256(self) -> str:
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class PushResult:
    uploaded: int
    unchanged: int
    bytes: int


def prefix_of(name: str) -> str:
    """Where the weights of a model lie in the bucket.

    Raises:
        Problem: the name cannot be one.
    """
    parts = name.split("/")
    if not name or any(part in {"", ".", ".."} for part in parts) or "\\" in name:
        raise Problem(f"{name!r} is no model name: give one like my-org/my-model.")
    return f"{name}/"


def files_of(folder: Path, name: str) -> list[WeightsFile]:
    """Every file in a folder that belongs to the model.

    Raises:
        Problem: there is no such folder, or nothing in it.
    """
    prefix = prefix_of(name)
    if not folder.is_dir():
        raise Problem(f"{folder} is not a folder: name the one that the model's files lie in.")
    found = []
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.is_file() and not _IGNORED.intersection(relative.parts):
            found.append(WeightsFile(path, prefix + relative.as_posix(), path.stat().st_size))
    if not found:
        raise Problem(f"{folder} holds no files: name the folder that the model's files lie in.")
    return found


def push(
    client: Any, bucket: str, files: list[WeightsFile], *, say: Callable[[str], None] = lambda _: None
) -> PushResult:
    """Upload what is new or different.

    Raises:
        Problem: the bucket cannot be written to.
    """
    try:
        remote = _sizes(client, bucket, {file.key.rsplit("/", 1)[0] + "/" for file in files})
        with ThreadPoolExecutor(_PARALLEL_FILES) as pool:
            results = list(pool.map(lambda file: _push_file(client, bucket, file, remote, say), files))
    except (BotoCoreError, ClientError) as error:
        raise Problem(f"The weights cannot be uploaded to {bucket}: {error}") from error
    uploaded = [file for file, sent in zip(files, results, strict=True) if sent]
    return PushResult(len(uploaded), len(files) - len(uploaded), sum(file.size for file in uploaded))


def _sizes(client: Any, bucket: str, prefixes: set[str]) -> dict[str, int]:
    pages = client.get_paginator("list_objects_v2")
    return {
        item["Key"]: item["Size"]
        for prefix in prefixes
        for page in pages.paginate(Bucket=bucket, Prefix=prefix)
        for item in page.get("Contents", [])
    }


def _push_file(
    client: Any, bucket: str, file: WeightsFile, remote: dict[str, int], say: Callable[[str], None]
) -> bool:
    digest = file.sha256()
    if remote.get(file.key) == file.size:
        stored = client.head_object(Bucket=bucket, Key=file.key)["Metadata"].get(SHA256_METADATA)
        if stored == digest:
            return False
    client.upload_file(
        str(file.path),
        bucket,
        file.key,
        ExtraArgs={"Metadata": {SHA256_METADATA: digest}, "ChecksumAlgorithm": "SHA256"},
        Config=_TRANSFER,
    )
    say(f"{file.key} ({megabytes(file.size)})")
    return True
