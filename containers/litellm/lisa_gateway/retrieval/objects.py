"""Files' bytes, to S3 and from it, a part at a time."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from lisa.errors import NotFound, PayloadTooLarge

from lisa_gateway.http.exchange import Exchange
from lisa_gateway.upstream_errors import unavailable

log = logging.getLogger(__name__)

# S3 takes no part below 5 MiB but the last.
PART_BYTES = 6 * 1024 * 1024
PIECE_BYTES = 256 * 1024
# Each holds a part or two; more wait, and their clients with them.
MAX_UPLOADS = 8
RETRY_SECONDS = 2

T = TypeVar("T")


class Bucket(Protocol):
    """The calls of S3 that are needed, for one bucket. They wait, and are made by threads."""

    def put(self, key: str, body: bytes) -> None: ...
    def begin(self, key: str) -> str: ...
    def part(self, key: str, upload: str, number: int, body: bytes) -> str: ...
    def complete(self, key: str, upload: str, etags: list[str]) -> None: ...
    def abort(self, key: str, upload: str) -> None: ...
    def delete(self, key: str) -> None: ...
    def open(self, key: str) -> tuple[int, Iterator[bytes]]:
        """Length and pieces; raises KeyError when it is not there."""


class S3Bucket:
    """`client` is boto3's, which threads may share."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._name = name

    def put(self, key: str, body: bytes) -> None:
        self._client.put_object(Bucket=self._name, Key=key, Body=body)

    def begin(self, key: str) -> str:
        return str(self._client.create_multipart_upload(Bucket=self._name, Key=key)["UploadId"])

    def part(self, key: str, upload: str, number: int, body: bytes) -> str:
        answer = self._client.upload_part(
            Bucket=self._name, Key=key, UploadId=upload, PartNumber=number, Body=body
        )
        return str(answer["ETag"])

    def complete(self, key: str, upload: str, etags: list[str]) -> None:
        parts = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)]
        self._client.complete_multipart_upload(
            Bucket=self._name, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}
        )

    def abort(self, key: str, upload: str) -> None:
        self._client.abort_multipart_upload(Bucket=self._name, Key=key, UploadId=upload)

    def delete(self, key: str) -> None:
        self._client.delete_object(Bucket=self._name, Key=key)

    def open(self, key: str) -> tuple[int, Iterator[bytes]]:
        try:
            answer = self._client.get_object(Bucket=self._name, Key=key)
        except self._client.exceptions.NoSuchKey:
            raise KeyError(key) from None
        return int(answer["ContentLength"]), answer["Body"].iter_chunks(PIECE_BYTES)


class Objects:
    """The bucket as requests see it. `open_bucket` is called once, by a thread."""

    def __init__(self, open_bucket: Callable[[], Bucket]) -> None:
        self._open = open_bucket
        self._bucket: Bucket | None = None
        self._threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="objects")
        self._uploads = asyncio.Semaphore(MAX_UPLOADS)

    async def store(self, key: str, read: Callable[[], Awaitable[bytes]], *, limit: int) -> int:
        """Puts what `read` gives, piece by piece until it is empty, under a key; how many bytes it was.

        Raises PayloadTooLarge, with nothing kept, when it is more than `limit`. Nothing is kept either when the
        caller leaves.
        """
        async with self._uploads:
            upload, size = "", 0
            etags: list[str] = []
            part = bytearray()
            try:
                while piece := await read():
                    part += piece
                    size += len(piece)
                    if size > limit:
                        raise PayloadTooLarge(
                            f"The file is larger than {limit} bytes.", code="file_too_large", field="file"
                        )
                    if len(part) >= PART_BYTES:
                        upload = upload or await self._call(lambda bucket: bucket.begin(key))
                        etags.append(await self._send(key, upload, len(etags) + 1, bytes(part)))
                        part.clear()
                if not upload:
                    await self._call(lambda bucket: bucket.put(key, bytes(part)))
                    return size
                if part:
                    etags.append(await self._send(key, upload, len(etags) + 1, bytes(part)))
                await self._call(lambda bucket: bucket.complete(key, upload, etags))
            except BaseException:
                if upload:
                    self._in_background(lambda bucket: bucket.abort(key, upload))
                raise
            return size

    def forget(self, key: str) -> None:
        """Removes an object soon; what fails is left to the bucket's own rules."""
        self._in_background(lambda bucket: bucket.delete(key))

    async def send(self, exchange: Exchange, key: str, headers: bytes) -> None:
        """Answers with an object, as fast as the caller reads. Raises NotFound when it is not there."""
        try:
            length, pieces = await self._call(lambda bucket: bucket.open(key))
        except KeyError:
            raise NotFound("The file's content is gone.") from None
        flowing = asyncio.Event()
        flowing.set()
        exchange.on_flow(flowing.clear, flowing.set)
        try:
            exchange.start_sized(200, headers, length)
            while piece := await self._call(lambda _: next(pieces, b"")):
                exchange.write(piece)
                await flowing.wait()
        finally:
            exchange.on_flow(None, None)
        exchange.finish()

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _send(self, key: str, upload: str, number: int, body: bytes) -> str:
        return await self._call(lambda bucket: bucket.part(key, upload, number, body))

    async def _call(self, work: Callable[[Bucket], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, lambda: work(self._opened())
            )
        except KeyError:
            raise
        except Exception as error:  # boto3's many
            log.warning("files cannot be reached", extra={"error": type(error).__name__})
            raise unavailable("Files cannot be reached at the moment; try again.", RETRY_SECONDS) from error

    def _in_background(self, work: Callable[[Bucket], None]) -> None:
        def run() -> None:
            with contextlib.suppress(Exception):
                work(self._opened())

        self._threads.submit(run)

    def _opened(self) -> Bucket:
        if self._bucket is None:
            self._bucket = self._open()
        return self._bucket
