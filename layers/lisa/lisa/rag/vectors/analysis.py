"""Which words a text is found by: what OpenSearch's built-in analyzer `english` makes of it.

That is the standard tokenizer (words as Unicode's annex 29 parts them), the possessive, lower case, 33 stop words and
Porter's stemmer. https://docs.opensearch.org/latest/analyzers/language-analyzers/english/
Characters that only look alike (full width, ligatures) are made one first, which a search can only win by.
"""

import re
import unicodedata
from functools import lru_cache
from threading import local

import Stemmer

from lisa.rag.vectors.base import Chunk

STOP_WORDS = frozenset(
    """a an and are as at be but by for if in into is it no not of on or such that the their then there these they
    this to was will with""".split()  # noqa: SIM905 - a list of these is a page long
)

# Every ideograph and every hiragana is a word of its own. Vowel signs are no letters to `re`, yet part of a word.
_ALONE = "\u3041-\u309f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_SIGNS = (
    "\u0300-\u036f\u0591-\u05bd\u05bf-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0963\u0966-\u0dff"
    "\u0e31-\u0e4e"
)
_LETTER = f"(?:[^\\W{_ALONE}]|[{_SIGNS}])"
# A full stop or an apostrophe between letters does not end a word, nor a comma between digits.
_WORD = re.compile(f"[{_ALONE}]|{_LETTER}+(?:['\u2019.]{_LETTER}+|(?<=\\d),(?=\\d){_LETTER}+)*")
_POSSESSIVE = re.compile("['\u2019][sS]$")

_of_thread = local()


def words(text: str) -> list[str]:
    """The stems of a text's words, in order, without stop words."""
    found = []
    for word in _WORD.findall(unicodedata.normalize("NFKC", text)):
        stem = _stem(_POSSESSIVE.sub("", word).lower())
        if stem:
            found.append(stem)
    return found


def words_of(chunk: Chunk) -> list[str]:
    return words("\n".join((*chunk.heading, chunk.text)))


@lru_cache(maxsize=65_536)
def _stem(word: str) -> str:
    """Empty for a stop word."""
    if word in STOP_WORDS:
        return ""
    # A stemmer keeps state between calls: one for each thread.
    stemmer = getattr(_of_thread, "stemmer", None)
    if stemmer is None:
        stemmer = _of_thread.stemmer = Stemmer.Stemmer("porter")
    return str(stemmer.stemWord(word))
