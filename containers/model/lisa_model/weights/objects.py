"""The weights in S3: what lies under a prefix, pieces of an object, and what its bytes must hash to."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, IncompleteReadError

from lisa_model.errors import StoreUnavailableError, WeightsError

if TYPE_CHECKING:
    from pathlib import Path

_SHA256 = re.compile(r"^[0-9a-f]{64}$")
_MD5 = re.compile(r"^[0-9a-f]{32}$")
_MULTIPART_MD5 = re.compile(r"^[0-9a-f]{32}-(\d+)$")
_READ_SIZE = 256 << 10  # what a cut connection costs at most
_MISSING = {"404", "NoSuchKey", "NotFound"}


class ObjectChangedError(Exception):
    """The object is no longer the version that was listed."""


class InterruptedReadError(Exception):
    """The connection ended before the whole range had arrived."""


@dataclass(frozen=True, slots=True)
class RemoteObject:
    """One version of one object; `path` is relative to the prefix."""

    key: str
    path: str
    etag: str  # without quotes
    size: int


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What the bytes must hash to. `algorithm` is "size" when S3 offers nothing that can be computed here."""

    algorithm: str  # sha256, md5, md5-parts, crc32, size
    expected: str
    part_size: int = 0

    def matches(self, path: Path) -> bool:
        """Reads the file once. Its size was checked before."""
        if self.algorithm == "size":
            return True
        return self._compute(path) == self.expected

    def _compute(self, path: Path) -> str:
        if self.algorithm == "sha256":
            return _digest(path, "sha256").hex()
        if self.algorithm == "md5":
            return _digest(path, "md5").hex()
        if self.algorithm == "crc32":
            checksum = 0
            for block in _blocks(path):
                checksum = zlib.crc32(block, checksum)
            return base64.b64encode(checksum.to_bytes(4, "big")).decode()
        # S3's ETag of a multipart upload: MD5 over the MD5s of its parts, and their number.
        parts = list(_part_digests(path, self.part_size))
        return f"{hashlib.md5(b''.join(parts), usedforsecurity=False).hexdigest()}-{len(parts)}"


class S3Objects:
    """The one place that talks to S3. Errors come out as ours, with what to do."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client = client
        self.bucket = bucket
        self.prefix = prefix

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"

    def list(self) -> list[RemoteObject]:
        """Everything under the prefix, sorted by path. Raises WeightsError when there is nothing."""
        found = []
        try:
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self.prefix
            )
            for page in pages:
                for item in page.get("Contents", []):
                    path = item["Key"][len(self.prefix) :]
                    if not path or path.endswith("/"):
                        continue  # a "folder" made by the console
                    if (
                        any(part in ("", ".", "..") for part in path.split("/"))
                        or "\\" in path
                        or "\0" in path
                    ):
                        raise WeightsError(
                            f"The object {item['Key']!r} cannot be a file name: rename or remove it."
                        )
                    found.append(RemoteObject(item["Key"], path, item["ETag"].strip('"'), item["Size"]))
        except (BotoCoreError, ClientError) as error:
            raise self._explain(error, "list") from error
        if not found:
            raise WeightsError(
                f"There are no weights at {self.uri}: upload the model's files there "
                "(`lisa models push DIR --name NAME`, or `aws s3 sync`), or correct modelName."
            )
        return sorted(found, key=lambda item: item.path)

    def fingerprint(self, item: RemoteObject) -> Fingerprint:
        """The strongest check that S3 gives for this object and that the standard library can compute.

        `lisa models push` notes the file's SHA-256 in the object's metadata. An ETag is an MD5 only of
        plain uploads that are not encrypted with KMS; of a multipart upload it hashes the parts' MD5s, for
        which the parts' size is asked for. Checksums of type COMPOSITE hash the parts' checksums, and are
        not used.
        """
        try:
            head = self._client.head_object(
                Bucket=self.bucket, Key=item.key, IfMatch=f'"{item.etag}"', ChecksumMode="ENABLED"
            )
            noted = head.get("Metadata", {}).get("sha256", "")
            if _SHA256.match(noted):
                return Fingerprint("sha256", noted)
            whole = head.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT"
            checksums = {
                algorithm: head[header]
                for algorithm, header in (("sha256", "ChecksumSHA256"), ("crc32", "ChecksumCRC32"))
                if whole and head.get(header) and "-" not in head[header]
            }
            if "sha256" in checksums:
                return Fingerprint("sha256", base64.b64decode(checksums["sha256"]).hex())
            if head.get("ServerSideEncryption", "AES256") == "AES256":
                if _MD5.match(item.etag):
                    return Fingerprint("md5", item.etag)
                multipart = _MULTIPART_MD5.match(item.etag)
                part_size = self._part_size(item) if multipart else 0
                # Parts of unequal size are allowed; then the ETag cannot be computed from the first one's.
                if multipart and part_size and -(-item.size // part_size) == int(multipart[1]):
                    return Fingerprint("md5-parts", item.etag, part_size)
            if "crc32" in checksums:
                return Fingerprint("crc32", checksums["crc32"])
        except (BotoCoreError, ClientError) as error:
            raise self._explain(error, "read", item.key) from error
        return Fingerprint("size", str(item.size))

    def _part_size(self, item: RemoteObject) -> int:
        head = self._client.head_object(
            Bucket=self.bucket, Key=item.key, IfMatch=f'"{item.etag}"', PartNumber=1
        )
        return int(head["ContentLength"])

    def read(self, item: RemoteObject, start: int, end: int) -> Iterator[bytes]:
        """The bytes [start, end) of exactly this version.

        Raises ObjectChangedError, or InterruptedReadError when fewer bytes arrive: continue from there.
        """
        missing = end - start
        try:
            answer = self._client.get_object(
                Bucket=self.bucket, Key=item.key, IfMatch=f'"{item.etag}"', Range=f"bytes={start}-{end - 1}"
            )
            with contextlib.closing(answer["Body"]) as body:
                while missing > 0:
                    block = body.read(min(missing, _READ_SIZE))
                    if not block:
                        break
                    missing -= len(block)
                    yield block
        except (HTTPClientError, IncompleteReadError) as error:  # reset, time-out, or a body that ended early
            raise InterruptedReadError(str(error)) from error
        except (BotoCoreError, ClientError) as error:
            raise self._explain(error, "read", item.key) from error
        if missing:
            raise InterruptedReadError(f"{missing} bytes are missing")

    def _explain(self, error: Exception, action: str, key: str | None = None) -> Exception:
        """The error of ours for one of the client's."""
        where = f"s3://{self.bucket}/{key or self.prefix}"
        code, status = "", 0
        if isinstance(error, ClientError):
            code = error.response.get("Error", {}).get("Code", "")
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in ("PreconditionFailed", "412") or (key and code in _MISSING):
            return ObjectChangedError(where)
        if code == "NoSuchBucket":
            return WeightsError(f"The bucket {self.bucket!r} does not exist: check the weights bucket.")
        if status == 403:
            return WeightsError(
                f"May not {action} {where} ({code}): the task role needs s3:ListBucket on the bucket and "
                "s3:GetObject on the model's objects, and kms:Decrypt if a key of your own encrypts them."
            )
        if 400 <= status < 500 and status != 429:
            return WeightsError(f"Cannot {action} {where}: {code}.")
        return StoreUnavailableError(f"Cannot {action} {where}: {error}.")


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_READ_SIZE):
            yield block


def _digest(path: Path, algorithm: str) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).digest()


def _part_digests(path: Path, part_size: int) -> Iterator[bytes]:
    digest, room = hashlib.md5(usedforsecurity=False), part_size
    filled = False
    for block in _blocks(path):
        rest = memoryview(block)
        while rest:
            piece, rest = rest[:room], rest[room:]
            digest.update(piece)
            room -= len(piece)
            filled = True
            if room == 0:
                yield digest.digest()
                digest, room, filled = hashlib.md5(usedforsecurity=False), part_size, False
    if filled:
        yield digest.digest()
