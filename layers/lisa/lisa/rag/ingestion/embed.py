"""Third step: a batch of chunks becomes vectors. Batches are independent, so that the model always has work."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lisa.errors import InvalidRequest, NotFound, Unavailable
from lisa.rag.documents.jobs import JobStore
from lisa.rag.ingestion.items import BATCH_TEXTS, Batch
from lisa.rag.ingestion.work import WorkArea

Vectors = npt.NDArray[np.float32]


class Embeds(Protocol):
    """What of `lisa.rag.embedding.Embedder` is needed."""

    def embed(self, model: str, texts: Sequence[str]) -> Vectors: ...


@dataclass(frozen=True, slots=True)
class Progress:
    """Whose job it is, and how many batches there are; for long executions."""

    job_id: str
    batches: int


class EmbedBatch:
    """`clock` is in seconds."""

    def __init__(
        self, embedder: Embeds, area: WorkArea, jobs: JobStore, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._embedder = embedder
        self._area = area
        self._jobs = jobs
        self._clock = clock

    def __call__(self, work: str, batch: Batch, progress: Progress | None = None) -> dict[str, Any]:
        """What became of the batch: nothing to say, or a `reason` for all of it, or `refused` texts by position.

        `retry` says that the reason may pass by itself.
        """
        texts = self._area.texts(work, batch.number)
        answer: dict[str, Any] = {"number": batch.number}
        try:
            vectors, refused = self._embed(batch.model, texts)
        except NotFound as error:
            return answer | {"reason": error.message}
        except Unavailable as error:
            if progress is not None:
                raise  # a long execution waits for the model; an ordinary one makes room for others
            return answer | {"reason": error.message, "retry": True}
        self._area.put_vectors(work, batch.number, vectors)
        if progress is not None:
            self._tell(work, progress)
        return answer | ({"refused": refused} if refused else {})

    def _embed(self, model: str, texts: Sequence[str]) -> tuple[Vectors, list[int]]:
        """The vectors, and the positions of texts that the model refuses; those have none, and others do."""
        try:
            return self._embedder.embed(model, texts), []
        except InvalidRequest:
            if len(texts) == 1:
                return np.full((1, 1), np.nan, np.float32), [0]
        middle = len(texts) // 2
        first, refused = self._embed(model, texts[:middle])
        second, others = self._embed(model, texts[middle:])
        width = max(first.shape[1], second.shape[1])
        return (
            np.concatenate([_wide(first, width), _wide(second, width)]),
            refused + [middle + position for position in others],
        )

    def _tell(self, work: str, progress: Progress) -> None:
        done = self._area.embedded_batches(work)
        self._jobs.progress(
            progress.job_id,
            done=done * BATCH_TEXTS,
            total=progress.batches * BATCH_TEXTS,
            now=int(self._clock() * 1000),
        )


def _wide(vectors: Vectors, width: int) -> Vectors:
    """Rows without numbers where a text was refused, as long as the others."""
    if vectors.shape[1] == width:
        return vectors
    return np.full((vectors.shape[0], width), np.nan, np.float32)
