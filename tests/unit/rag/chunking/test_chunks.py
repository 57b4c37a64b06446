"""Chunks are exact pieces of the text, as long as the model reads at most, with what stands above them."""

import random
import time
from collections.abc import Sequence
from itertools import pairwise

import pytest
from lisa.rag.chunking import chunks, effective, embedded_text, fitting_text
from lisa.rag.parsing import Heading, Page, ParsedDocument, parse
from lisa.rag.records import Chunking
from lisa.rag.tokenizing import Estimate, ModelTokenizer
from lisa.rag.vectors.base import Chunk

from tests.unit.rag.minilm import minilm
from tests.unit.rag.parsing.documents import FOLDER, parsed


@pytest.fixture(scope="module")
def tokenizer() -> ModelTokenizer:
    return minilm()


def check(
    document: ParsedDocument, found: Sequence[Chunk], chunking: Chunking, tokenizer: ModelTokenizer
) -> None:
    """What holds for every document, whatever is in it."""
    assert [chunk.ordinal for chunk in found] == list(range(len(found)))
    covered = 0
    for chunk in found:
        assert document.text[chunk.start : chunk.end] == chunk.text
        assert chunk.text.strip() == chunk.text != ""
        assert not document.text[covered : chunk.start].strip(), "text between two chunks is in none"
        assert chunk.end > covered, "a chunk holds nothing that the one before has not"
        covered = chunk.end
        assert tokenizer.count(embedded_text(chunk)) <= tokenizer.max_tokens
        assert tokenizer.count(chunk.text) <= chunking.size
    assert not document.text[covered:].strip(), "the end is in no chunk"


FILES = [
    "handbook.pdf",
    "handbook.docx",
    "message.eml",
    "slides.pptx",
    "source/handbook.md",
    "stations.xlsx",
    "make.sh",
]


@pytest.mark.parametrize("size", [40, 100, 512])
@pytest.mark.parametrize("name", FILES)
def test_chunks_of_real_files(name: str, size: int, tokenizer: ModelTokenizer) -> None:
    document, chunking = parsed(name), Chunking(size=size, overlap=size // 10)
    check(document, list(chunks(document, chunking, tokenizer)), chunking, tokenizer)


WORDS = [
    "lamp",
    "Größe",
    "灯台",
    "x" * 150,
    "a.",
    "b!",
    "\n",
    "\n\n",
    " ",
    "\t",
    "🦙",
    "e\u0301",
    "#",
    "```",
    "文。",
    "|",
]


@pytest.mark.parametrize("seed", range(40))
def test_chunks_of_any_text(seed: int, tokenizer: ModelTokenizer) -> None:
    """Text, headings, pages and sizes by chance."""
    dice = random.Random(seed)
    text = "".join(
        dice.choice(WORDS) + dice.choice(["", " ", " "]) for _ in range(dice.choice([1, 30, 400, 1500]))
    )
    places = sorted(dice.sample(range(len(text)), min(len(text), dice.randrange(12))))
    headings = tuple(
        Heading(dice.randint(1, 6), place, place + 1, dice.choice(["Part", "A long heading " * 20, "灯台"]))
        for place in places
        if not text[place].isspace()
    )
    pages = tuple(Page(number, place, place + 1) for number, place in enumerate(places, 1))
    syntax = dice.choice(["", "markdown", "python", "json", "html"])
    document = ParsedDocument(
        dice.choice(["", "A title", "t " * 300]), "text/plain", text, pages, headings, syntax
    )
    size = dice.choice([20, 60, 254, 1000])
    chunking = Chunking(size=size, overlap=dice.randint(0, size // 2))
    check(document, list(chunks(document, chunking, tokenizer)), chunking, tokenizer)


def test_a_chunk_carries_the_headings_above_it_and_its_page(tokenizer: ModelTokenizer) -> None:
    document = parsed("handbook.pdf")
    found = list(chunks(document, Chunking(size=60, overlap=0), tokenizer))
    fog = next(chunk for chunk in found if "Count to thirty" in chunk.text)
    log = next(chunk for chunk in found if "Sign with" in chunk.text)
    title = "Field handbook for lighthouse keepers"
    assert fog.text.startswith("The fog signal\n")
    assert (fog.heading, fog.page) == ((title, "Before the watch"), 1)
    assert log.page == 2
    assert log.text.startswith("After the watch")  # a heading of two words alone would be no chunk
    assert log.heading == (title,)
    assert embedded_text(log) == f"{title}\n{log.text}"


def test_columns_names_stand_above_every_piece_of_a_table(tokenizer: ModelTokenizer) -> None:
    rows = "\n".join(f"{number},keeper {number},{number * 7}" for number in range(400))
    document = parse(f"id,name,score\n{rows}\n".encode(), "table.csv")
    found = list(chunks(document, Chunking(size=100, overlap=0), tokenizer))
    assert len(found) > 10
    assert {chunk.heading for chunk in found[1:]} == {("id | name | score",)}
    for chunk in found:
        assert all(line.count(" | ") == 2 for line in chunk.text.split("\n")), "a row was cut in two"


def test_overlap_repeats_the_end_of_the_chunk_before(tokenizer: ModelTokenizer) -> None:
    text = " ".join(f"Sentence number {number} is about keepers and their lamps." for number in range(200))
    document = ParsedDocument("", "text/plain", text)
    found = list(chunks(document, Chunking(size=100, overlap=30), tokenizer))
    for before, chunk in pairwise(found):
        shared = document.text[chunk.start : before.end]
        assert 10 <= tokenizer.count(shared) <= 30
        assert chunk.text.startswith("Sentence"), "the overlap begins in the middle of a sentence"
    without = list(chunks(document, Chunking(size=100, overlap=0), tokenizer))
    assert all(before.end <= chunk.start for before, chunk in pairwise(without))


def test_code_is_cut_between_definitions(tokenizer: ModelTokenizer) -> None:
    code = "\n\n".join(
        f"def lamp_{number}(oil: int) -> int:\n    wick = oil * {number}\n    return wick"
        for number in range(60)
    )
    document = parse(code.encode(), "lamps.py")
    assert document.syntax == "python"
    found = list(chunks(document, Chunking(size=120, overlap=0), tokenizer))
    assert len(found) > 5
    assert all(chunk.text.startswith("def lamp_") for chunk in found)


def test_sizes_are_what_the_model_reads_at_most(tokenizer: ModelTokenizer) -> None:
    assert effective(Chunking(size=512, overlap=200), tokenizer) == Chunking(size=254, overlap=127)
    assert effective(Chunking(size=100, overlap=10), tokenizer) == Chunking(size=100, overlap=10)
    assert effective(Chunking(type="none"), tokenizer) == Chunking(type="none")


def test_a_long_heading_does_not_crowd_out_the_text(tokenizer: ModelTokenizer) -> None:
    document = ParsedDocument("lighthouse " * 500, "text/plain", "The wick is trimmed. " * 300)
    found = list(chunks(document, Chunking(), tokenizer))
    assert all(0 < tokenizer.count(" ".join(chunk.heading)) <= 254 // 4 for chunk in found)
    assert min(tokenizer.count(chunk.text) for chunk in found[:-1]) > 100


def test_none_keeps_the_document_whole_and_says_what_is_not_embedded(tokenizer: ModelTokenizer) -> None:
    document = parsed("source/handbook.md")
    (whole,) = chunks(document, Chunking(type="none"), tokenizer)
    assert whole.text == document.text.strip() == document.text[whole.start : whole.end]
    text, was_cut = fitting_text(whole, tokenizer)
    assert was_cut
    assert embedded_text(whole).startswith(text)
    assert tokenizer.count(text) == 254
    (short,) = chunks(ParsedDocument("", "text/plain", " short \n"), Chunking(type="none"), tokenizer)
    assert (short.text, short.start, fitting_text(short, tokenizer)) == ("short", 1, ("short", False))


def test_models_without_a_tokenizer_are_served_by_the_estimate() -> None:
    document, estimate = parsed("handbook.docx"), Estimate(100)
    found = list(chunks(document, Chunking(size=300, overlap=20), estimate))
    assert len(found) > 4
    assert all(estimate.count(embedded_text(chunk)) <= 100 for chunk in found)
    assert all(document.text[chunk.start : chunk.end] == chunk.text for chunk in found)


HARD = {
    "prose": " ".join((FOLDER / "source/handbook.md").read_text().split()) * 100,
    "one word": "QUJD" * 40_000,
    "repetition": "abc abc " * 20_000,
    "white space": "a" + " " * 200_000 + "b",
    "no spaces": "漢字処理のための検索システム。" * 10_000,
    "no word twice": " ".join(format(number * 7919 % 1000003, "x") for number in range(25_000)),
    "lines": '"key": 1,\n' * 15_000,
}


@pytest.mark.parametrize("name", HARD)
def test_chunking_is_quick_whatever_the_text_is(name: str, tokenizer: ModelTokenizer) -> None:
    """150 kB each; a text of 1 MB takes 2 to 7 s of processor time (docs/decisions/0011-parsing.md)."""
    document, chunking = ParsedDocument("", "text/plain", HARD[name]), Chunking()
    started = time.process_time()
    found = list(chunks(document, chunking, tokenizer))
    assert time.process_time() - started < 6
    check(document, found, chunking, tokenizer)
    assert max(len(chunk.text) for chunk in found) <= 254 * 33
