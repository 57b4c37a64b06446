"""What the arms find: the nearest, the best by BM25, in any language and of any length."""

from __future__ import annotations

import random

import bm25s
import numpy as np
import pytest
from lisa.errors import InvalidRequest
from lisa.rag.vectors.analysis import words
from lisa.rag.vectors.base import (
    Arms,
    Chunk,
    EmbeddedChunk,
    Index,
    Mode,
    Query,
    VectorStore,
    Visibility,
)
from lisa.rag.vectors.opensearch import OpenSearchStore

from tests.unit.rag.vectors.corpus import (
    ANYBODY,
    DIMENSIONS,
    chunks,
    dense,
    document,
    lexical,
    texts,
    vector,
    vectors,
)

VOCABULARY = [f"{first}{second}" for first in "bcdfghklmn" for second in ("alo", "ero", "ipu", "odi", "ulla")]


def test_an_empty_index_finds_nothing(store: VectorStore, index: Index) -> None:
    assert store.search(index, Query(Mode.HYBRID, 5, "apple", vector(0)), ANYBODY) == Arms()
    assert store.size(index).chunks == 0


def test_each_mode_asks_its_arms(store: VectorStore, index: Index) -> None:
    store.replace(index, document(), chunks("apple", "pear"))
    asked = {
        mode: store.search(index, Query(mode, 5, "apple", vector(0)), ANYBODY)
        for mode in (Mode.DENSE, Mode.LEXICAL, Mode.HYBRID)
    }
    assert texts(asked[Mode.DENSE].dense) == ["apple", "pear"]
    assert asked[Mode.DENSE].lexical == ()
    assert texts(asked[Mode.LEXICAL].lexical) == ["apple"]
    assert asked[Mode.LEXICAL].dense == ()
    assert asked[Mode.HYBRID] == Arms(asked[Mode.DENSE].dense, asked[Mode.LEXICAL].lexical)


def test_the_nearest_come_first_with_their_cosine(store: VectorStore, index: Index) -> None:
    store.replace(index, document(), chunks(*[f"text {angle}" for angle in range(0, 90)]))
    hits = store.search(index, dense(30.2, limit=4), ANYBODY).dense
    assert texts(hits) == ["text 30", "text 31", "text 29", "text 32"]
    wanted = [np.cos(np.radians(apart)) for apart in (0.2, 0.8, 1.2, 1.8)]
    assert [hit.score for hit in hits] == pytest.approx(wanted, abs=2e-3)


def test_similarity_goes_down_to_minus_one_whatever_the_length(store: VectorStore, index: Index) -> None:
    for id_, scale in (("near", 1e-6), ("opposite", -1e9)):
        piece = EmbeddedChunk(Chunk(0, id_, 0, 1), [scale * number for number in vector(0)])
        store.replace(index, document(id_), [piece])
    hits = store.search(index, Query(Mode.DENSE, 5, vector=[1e8 * n for n in vector(0)]), ANYBODY).dense
    assert [(hit.document.id, round(hit.score, 2)) for hit in hits] == [("near", 1), ("opposite", -1)]


def test_limit_bounds_each_arm(store: VectorStore, index: Index) -> None:
    store.replace(index, document(), chunks(*["apple"] * 60))
    arms = store.search(index, Query(Mode.HYBRID, 7, "apple", vector(0)), ANYBODY)
    assert (len(arms.dense), len(arms.lexical)) == (7, 7)
    many = store.search(index, Query(Mode.HYBRID, 500, "apple", vector(0)), ANYBODY)
    assert (len(many.dense), len(many.lexical)) == (60, 60)


@pytest.mark.parametrize(
    "asked", [[0.1] * (DIMENSIONS + 1), [0.1], [], [0.0] * DIMENSIONS, [float("nan")] * DIMENSIONS, None]
)
def test_a_vector_that_cannot_be_compared_is_refused(
    store: VectorStore, index: Index, asked: list[float] | None
) -> None:
    store.replace(index, document(), chunks("apple"))
    with pytest.raises(InvalidRequest):
        store.search(index, Query(Mode.DENSE, 5, vector=asked), ANYBODY)


def test_recall_of_the_dense_arm(store: VectorStore, unmade: Index) -> None:
    # Given
    index = Index(unmade.repository_id, unmade.collection_id, 1, 64)
    kept = list(vectors(2000, 64, seed=1))
    store.create(index, Visibility())
    try:
        for first in range(0, 2000, 500):
            store.replace(
                index,
                document(f"d{first}"),
                [EmbeddedChunk(Chunk(at, str(first + at), 0, 1), kept[first + at]) for at in range(0, 500)],
            )
        matrix = np.array(kept) / np.linalg.norm(kept, axis=1, keepdims=True)

        # When
        hit = 0
        for asked in vectors(20, 64, seed=2):
            nearest = set(np.argsort(-(matrix @ np.array(asked)))[:10].tolist())
            found = store.search(index, Query(Mode.DENSE, 10, vector=asked), ANYBODY).dense
            hit += len(nearest & {int(text) for text in texts(found)})
    finally:
        store.drop(index)

    # Then
    assert hit / 200 >= 0.98


SCORE_TOLERANCE = 1e-4


def test_bm25_is_that_of_the_reference(store: VectorStore, index: Index) -> None:
    # Given: documents of several chunks, some of them replaced, removed and put in again
    generator = random.Random(5)

    def text() -> str:
        return " ".join(generator.choices(VOCABULARY, weights=range(1, 51), k=generator.randint(3, 40)))

    kept: dict[str, list[str]] = {}
    for number in range(120):
        id_ = f"d{number % 50}"
        if number % 7 == 3 and id_ in kept:
            store.remove(index, id_, f"{number:04}")
            del kept[id_]
        else:
            kept[id_] = [text() for _ in range(generator.randint(1, 5))]
            store.replace(index, document(id_, f"{number:04}"), chunks(*kept[id_]))
    places = [(id_, ordinal) for id_, pieces in kept.items() for ordinal in range(len(pieces))]
    reference = bm25s.BM25(method="lucene", k1=1.2, b=0.75)
    reference.index([words(kept[id_][ordinal]) for id_, ordinal in places], show_progress=False)

    # OpenSearch counts what was replaced or removed until it merges segments, when it likes: 17 % were seen here, where
    # more was replaced than is left. That its formula is the same, test_bm25_by_hand shows without replacements.
    tolerance = 0.25 if isinstance(store, OpenSearchStore) else SCORE_TOLERANCE
    for _ in range(25):
        # When
        asked = " ".join(generator.choices(VOCABULARY, k=generator.randint(1, 6)))
        found = store.search(index, lexical(asked, limit=1000), ANYBODY).lexical

        # Then: every chunk with its score
        scores = reference.get_scores([word for word in words(asked) if word in reference.vocab_dict])
        wanted = {place: float(score) for place, score in zip(places, scores, strict=True) if score > 0}
        got = {(hit.document.id, hit.chunk.ordinal): hit.score for hit in found}
        assert got == pytest.approx(wanted, rel=tolerance)
        assert [hit.score for hit in found] == sorted(got.values(), reverse=True)


def test_bm25_by_hand(store: VectorStore, index: Index) -> None:
    """Two chunks of two and four words; "apple" is once in the first, twice in the second."""
    store.replace(index, document(), chunks("apple pear", "apple apple plum cherry"))
    hits = store.search(index, lexical("apple"), ANYBODY).lexical
    idf = np.log(1 + (2 - 2 + 0.5) / (2 + 0.5))
    first = idf * 1 / (1 + 1.2 * (0.25 + 0.75 * 2 / 3))
    second = idf * 2 / (2 + 1.2 * (0.25 + 0.75 * 4 / 3))
    assert [hit.score for hit in hits] == pytest.approx([second, first], rel=SCORE_TOLERANCE)


def test_words_are_looked_for_in_the_headings_too(store: VectorStore, index: Index) -> None:
    store.replace(index, document(), chunks("apple", heading=("Fruit of the garden", "Pomes")))
    assert texts(store.search(index, lexical("gardens"), ANYBODY).lexical) == ["apple"]
    assert texts(store.search(index, lexical("pome"), ANYBODY).lexical) == ["apple"]


def test_words_are_found_by_their_stems_and_not_by_parts(store: VectorStore, index: Index) -> None:
    store.replace(index, document(), chunks("The Runner's connections were relational, flying at Mach 2.5"))
    for asked in ("runner", "CONNECTED", "relate", "fly", "mach", "2.5", "runner\u2019s connect"):
        assert store.search(index, lexical(asked), ANYBODY).lexical, asked
    for asked in (
        "run",
        "connectionsx",
        "the",
        "were",
        "at the",
        "",
        "  ",
        "?!*",
        "conn",
        "2",
        "\x00",
        "\ud800",
    ):
        found = store.search(index, lexical(asked), ANYBODY).lexical
        assert bool(found) == (asked == "were"), asked


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("Die Größe der Übung", "größe"),
        ("Le café de l'étudiant", "CAFÉ"),
        ("Сила трения", "трения"),
        ("数据库检索", "检索"),
        ("データベース検索", "検索"),
        ("الذكاء الاصطناعي", "الذكاء"),
        ("हिन्दी भाषा", "भाषा"),
    ],
)
def test_other_languages_are_found(store: VectorStore, index: Index, text: str, asked: str) -> None:
    store.replace(index, document("it"), chunks(text))
    store.replace(index, document("other"), chunks("nothing of the kind"))
    assert texts(store.search(index, lexical(asked), ANYBODY).lexical) == [text]


def test_a_very_long_text_is_kept_and_found(store: VectorStore, index: Index) -> None:
    text = "needle " + "hay straw " * 200_000 + "pin"
    store.replace(index, document(), [EmbeddedChunk(Chunk(0, text, 0, len(text)), vector(0))])
    (chunk,) = store.chunks(index, "d1")
    assert chunk.text == text
    assert texts(store.search(index, lexical("needle pin"), ANYBODY).lexical) == [text]


def test_texts_that_a_database_cannot_hold_lose_only_that(store: VectorStore, index: Index) -> None:
    odd = "before\x00after \ud800 end"
    store.replace(index, document(name="a\x00b"), chunks(odd, heading=("h\x00",)))
    (chunk,) = store.chunks(index, "d1")
    assert chunk.text.replace("\x00", "").startswith("beforeafter")
    assert chunk.text.endswith("end")
    assert store.search(index, lexical("end"), ANYBODY).lexical


def test_a_question_as_long_as_a_page_is_answered(store: VectorStore, index: Index) -> None:
    store.replace(index, document(), chunks(" ".join(VOCABULARY)))
    asked = " ".join(VOCABULARY * 100) + " " + " ".join(f"unknown{number}" for number in range(2000))
    assert len(store.search(index, lexical(asked), ANYBODY).lexical) == 1
