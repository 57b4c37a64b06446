"""Counts tokens fast enough to try where to cut."""

from lisa.rag.tokenizing import Tokenizer

_LONG_WORD = 100
_LONG_WORD_CHARACTERS = 4
# A piece has no more than so many characters for a token, whatever it is made of: white space has no tokens at all,
# and a tokenizer may read a word of a thousand letters as one that it does not know.
_MAX_CHARACTERS = 32


class WordCounter:
    """Adds up the tokens of words, each of which is counted once: nearly all words of a text are the same few.

    For tokenizers that divide texts at white space first this is exact, for others it is close.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._known: dict[str, int] = {}

    def learn(self, text: str) -> None:
        """Counts the words of a text all at once, which is several times as fast."""
        words = [word for word in set(text.split()) if word not in self._known]
        for word, count in zip(words, self._tokenizer.counts(words), strict=True):
            self._known[word] = _at_least(word, count)

    def __call__(self, text: str) -> int:
        known, total = self._known, 0
        for word in text.split():
            count = known.get(word)
            if count is None:
                count = _at_least(word, self._tokenizer.count(word))
                if len(word) <= _LONG_WORD:
                    known[word] = count
            total += count
        return max(total, len(text) // _MAX_CHARACTERS)


def _at_least(word: str, count: int) -> int:
    return max(count, len(word) // _LONG_WORD_CHARACTERS) if len(word) > _LONG_WORD else count
