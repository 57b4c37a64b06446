"""Documents and vectors for tests: small, and the same in every run."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence

from lisa.rag.records import Attribute
from lisa.rag.vectors.base import Arms, Chunk, EmbeddedChunk, Hit, Mode, Query, Reader, StoredDocument

DIMENSIONS = 8
ANYBODY = Reader(user="ada", groups=frozenset())


def document(
    id_: str = "d1",
    sequencer: str = "01",
    *,
    tags: tuple[str, ...] = (),
    attributes: dict[str, Attribute] | None = None,
    **more: object,
) -> StoredDocument:
    settings: dict[str, object] = {
        "name": f"{id_}.txt",
        "source": f"s3://bucket/{id_}.txt",
        "owner": "ada",
        "media_type": "text/plain",
        "uploaded_at": 1_700_000_000_000,
    }
    return StoredDocument(
        id=id_, sequencer=sequencer, tags=tags, attributes=attributes or {}, **{**settings, **more}
    )


YEARS = (
    document("y2019", tags=("red",), attributes={"year": 2019.0}, name="alpha.txt", uploaded_at=1000),
    document("y2020", tags=("red", "blue"), attributes={"year": 2020.0}, uploaded_at=2000, owner="bob"),
    document("y2021", attributes={"year": 2021.5}, uploaded_at=3000, media_type="application/pdf"),
    document("text", tags=("green",), attributes={"year": "2020"}, uploaded_at=4000),
    document("yes", attributes={"year": True}, uploaded_at=5000),
    document("none", uploaded_at=6000),
)


def vector(angle: float) -> list[float]:
    """A direction in the plane of the first two dimensions, so that nearness is nearness of angles in degrees."""
    return [math.cos(math.radians(angle)), math.sin(math.radians(angle)), *[0.0] * (DIMENSIONS - 2)]


def chunks(*texts: str, angle: float = 0.0, heading: tuple[str, ...] = ()) -> list[EmbeddedChunk]:
    """A chunk for each text; their vectors lie one degree apart, from `angle` on."""
    place = 0
    made = []
    for ordinal, text in enumerate(texts):
        piece = Chunk(ordinal, text, place, place + len(text), heading, page=ordinal + 1)
        made.append(EmbeddedChunk(piece, vector(angle + ordinal)))
        place += len(text) + 1
    return made


def dense(angle: float, limit: int = 10, **more: object) -> Query:
    return Query(Mode.DENSE, limit, vector=vector(angle), **more)  # type: ignore[arg-type]


def lexical(text: str, limit: int = 10, **more: object) -> Query:
    return Query(Mode.LEXICAL, limit, text=text, **more)  # type: ignore[arg-type]


def texts(hits: Sequence[Hit]) -> list[str]:
    return [hit.chunk.text for hit in hits]


def ids(arms: Arms) -> set[str]:
    return {hit.document.id for hit in (*arms.dense, *arms.lexical)}


def vectors(count: int, dimensions: int, seed: int, clusters: int = 20) -> Iterator[list[float]]:
    """Directions that lie around a few centres, as embeddings of texts do."""
    generator = random.Random(seed)
    centres = [[generator.gauss(0, 1) for _ in range(dimensions)] for _ in range(clusters)]
    for _ in range(count):
        centre = generator.choice(centres)
        yield [number + generator.gauss(0, 0.4) for number in centre]
