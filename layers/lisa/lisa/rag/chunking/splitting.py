"""Where a piece of text is cut: langchain-text-splitters' recursion, with exact places."""

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Literal

from lisa.rag.chunking.sections import Section

# Paragraphs, lines, sentences, clauses, words, letters. Marks stay at the end of what they end.
_PROSE = (
    r"\n{2,}",
    r"\n",
    r"(?<=[.!?…])\s+|(?<=[。！？])",  # noqa: RUF001
    r"(?<=[;:,–—])\s+|(?<=[、，；：])",  # noqa: RUF001
    r"\s+",
    "",
)


_WORD = re.compile(r"\S+")
_SENTENCE = re.compile(r"\n|(?<=[.!?…])\s+")
_WIDEST_WORD = 32
"""An overlap reaches back over so many characters for each of its tokens at most."""


def cut(
    text: str, section: Section, syntax: str, size: int, overlap: int, count: Callable[[str], int]
) -> Iterator[Section]:
    """Pieces of the section that `count` finds no longer than `size`, in order; nothing is left out.

    Each but the first begins with up to `overlap` tokens of the one before it.
    """
    from langchain_text_splitters import RecursiveCharacterTextSplitter

    separators, keep = _separators(syntax)
    splitter = RecursiveCharacterTextSplitter(
        separators=list(separators),
        is_separator_regex=True,
        keep_separator=keep,
        chunk_size=max(1, size - overlap),
        chunk_overlap=0,
        # What has no length would be repeated: white space has no tokens.
        length_function=lambda piece: max(1, count(piece)) if piece else 0,
        strip_whitespace=False,
    )
    # With every separator kept and nothing stripped the pieces together are the text, so their places are exact. The
    # library's own overlap would leave them to be guessed where a text repeats itself.
    begin = section.start
    before = begin
    for piece in splitter.split_text(text[section.start : section.end]):
        end = begin + len(piece)
        if not piece.strip():
            begin = end
            continue
        yield Section(_reach_back(text, before, begin, overlap, count), end, fresh=begin)
        before, begin = begin, end


def _reach_back(text: str, least: int, place: int, overlap: int, count: Callable[[str], int]) -> int:
    """Where the last `overlap` tokens before `place` begin, no earlier than `least`: if possible with a sentence."""
    if overlap == 0 or least == place:
        return place
    earliest = max(least, place - overlap * _WIDEST_WORD)
    words = list(_WORD.finditer(text, earliest, place))
    start, tokens = place, 0
    for word in reversed(words):
        tokens += count(word[0])
        is_cut_off = word.start() == earliest > least
        if tokens > overlap or is_cut_off:
            break
        start = word.start()
    sentence = _SENTENCE.search(text, start, place)
    if sentence is not None and sentence.end() < place - (place - start) // 2:
        return sentence.end()
    return start


def stripped(text: str, section: Section) -> Section:
    """Without white space around it."""
    own = text[section.start : section.end]
    start = section.start + len(own) - len(own.lstrip())
    return Section(start, max(start, section.start + len(own.rstrip())), section.fresh)


@cache
def _separators(syntax: str) -> tuple[tuple[str, ...], Literal["start", "end"]]:
    from langchain_text_splitters import Language, RecursiveCharacterTextSplitter

    try:
        return tuple(RecursiveCharacterTextSplitter.get_separators_for_language(Language(syntax))), "start"
    except ValueError:  # a language that has no separators there
        return _PROSE, "end"
