"""The work area: what steps of an execution hand over to each other in S3, since a state holds references only."""

import io
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from lisa.rag.documents import naming
from lisa.rag.ingestion.items import Item
from lisa.rag.vectors.base import Chunk, EmbeddedChunk

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from types_boto3_s3 import S3Client


class WorkArea:
    """`client` is a low-level S3 client. What is written twice is the same twice."""

    def __init__(self, bucket: str, client: "S3Client") -> None:
        self._bucket = bucket
        self._client = client

    def put_chunks(self, work: str, number: int, chunks: Sequence[tuple[Chunk, str]]) -> None:
        """Each with the text that is embedded for it."""
        rows = [[c.ordinal, c.text, c.start, c.end, list(c.heading), c.page, text] for c, text in chunks]
        self._put(f"{work}/chunks-{number}", json.dumps(rows, separators=(",", ":")).encode())

    def texts(self, work: str, number: int) -> list[str]:
        return [str(row[-1]) for row in json.loads(self._get(f"{work}/chunks-{number}"))]

    def chunks(self, work: str, number: int) -> list[Chunk]:
        rows = json.loads(self._get(f"{work}/chunks-{number}"))
        return [
            Chunk(n, text, start, end, tuple(heading), page) for n, text, start, end, heading, page, _ in rows
        ]

    def put_vectors(self, work: str, number: int, vectors: "npt.NDArray[np.float32]") -> None:
        import numpy as np

        file = io.BytesIO()
        np.save(file, vectors, allow_pickle=False)
        self._put(f"{work}/vectors-{number}", file.getvalue())

    def vectors(self, work: str, number: int) -> "npt.NDArray[np.float32]":
        import numpy as np

        found: npt.NDArray[np.float32] = np.load(
            io.BytesIO(self._get(f"{work}/vectors-{number}")), allow_pickle=False
        )
        return found

    def embedded(self, work: str, item: Item, cache: dict[int, Any]) -> Iterator[EmbeddedChunk]:
        """A document's chunks with their vectors, batch by batch; `cache` keeps the last one for the next document."""
        for part in item.parts:
            if part.batch not in cache:
                cache.clear()
                cache[part.batch] = (self.chunks(work, part.batch), self.vectors(work, part.batch))
            chunks, vectors = cache[part.batch]
            for position in range(part.start, part.start + part.count):
                yield EmbeddedChunk(chunks[position], vectors[position])

    def embedded_batches(self, work: str) -> int:
        """How many batches of an execution have been embedded."""
        answer = self._client.list_objects_v2(
            Bucket=self._bucket, Prefix=f"{naming.WORK}{work}/vectors-", MaxKeys=1000
        )
        return answer["KeyCount"]

    def clear(self, work: str, batches: int) -> None:
        """Removes what an execution has left; what is missed expires by itself."""
        keys = [f"{naming.WORK}{work}/{kind}-{n}" for n in range(batches) for kind in ("chunks", "vectors")]
        for start in range(0, len(keys), 1000):
            objects: Any = [{"Key": key} for key in keys[start : start + 1000]]
            self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": objects, "Quiet": True})

    def _put(self, name: str, body: bytes) -> None:
        self._client.put_object(Bucket=self._bucket, Key=naming.WORK + name, Body=body)

    def _get(self, name: str) -> bytes:
        return self._client.get_object(Bucket=self._bucket, Key=naming.WORK + name)["Body"].read()
