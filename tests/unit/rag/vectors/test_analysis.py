"""Words of a text, as OpenSearch's analyzer `english` makes them."""

from __future__ import annotations

from threading import Thread

import pytest
from lisa.rag.vectors.analysis import STOP_WORDS, words, words_of
from lisa.rag.vectors.base import Chunk


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The quick brown foxes are jumping", ["quick", "brown", "fox", "jump"]),
        ("Newton's laws, Newton\u2019s", ["newton", "law", "newton"]),
        ("relational connections connected", ["relat", "connect", "connect"]),
        ("Mach 2.5, 1,000 km/h at example.com", ["mach", "2.5", "1,000", "km", "h", "example.com"]),
        ("snake_case camelCase x86-64", ["snake_cas", "camelcas", "x86", "64"]),
        ("\u6570\u636e \u3072\u3089", ["\u6570", "\u636e", "\u3072", "\u3089"]),
        ("\u30c7\u30fc\u30bf", ["\u30c7\u30fc\u30bf"]),
        ("cafe\u0301", ["caf\u00e9"]),
        ("\uff21\uff22\uff23", ["abc"]),
        ("\u0939\u093f\u0928\u094d\u0926\u0940", ["\u0939\u093f\u0928\u094d\u0926\u0940"]),
        ("end. Next", ["end", "next"]),
        (" ?! \x00 -- \ud800", []),
        ("", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_stop_words_are_none() -> None:
    assert words(" ".join(STOP_WORDS)) == []
    assert len(STOP_WORDS) == 33


def test_words_of_a_chunk_are_its_headings_and_its_text() -> None:
    assert words_of(Chunk(0, "Flying kites", 0, 1, ("The Sky", "Wind"))) == ["sky", "wind", "fly", "kite"]


def test_threads_stem_alike() -> None:
    # Given
    texts = [f"generalization{number} relational{number}ly happening" for number in range(300)]
    expected = [words(text) for text in texts]
    found: list[list[list[str]]] = []

    # When
    threads = [Thread(target=lambda: found.append([words(text) for text in texts])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    # Then
    assert found == [expected] * 4
