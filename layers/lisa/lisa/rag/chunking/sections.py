"""A document's sections: where its headings cut it, and which headings stand above a place in it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from lisa.rag.parsing import Heading, ParsedDocument


@dataclass(frozen=True, slots=True)
class Section:
    """A piece of the text. Before `fresh` it repeats what the piece before it has."""

    start: int
    end: int
    fresh: int = 0


class Outline:
    """Which headings stand above a place, outermost first, the title before them. Places are asked for in order."""

    def __init__(self, document: ParsedDocument) -> None:
        self._title = document.title
        self._headings: Sequence[Heading] = document.headings
        self._next = 0
        self._open: list[Heading] = []

    def before(self, place: int) -> tuple[str, ...]:
        """The last headings that begin before `place`, one within the other."""
        while self._next < len(self._headings) and self._headings[self._next].start < place:
            heading = self._headings[self._next]
            self._open = [*self._above(heading.level), heading]
            self._next += 1
        return self._path(self._open)

    def above(self, place: int) -> tuple[str, ...]:
        """Headings above a text that begins at `place`: a heading there is a part of it, and so are none beside it."""
        path = self.before(place)
        following = self._headings[self._next] if self._next < len(self._headings) else None
        if following is None or following.start > place:
            return path
        return self._path(self._above(following.level))

    def _above(self, level: int) -> list[Heading]:
        return [heading for heading in self._open if heading.level < level]

    def _path(self, headings: Sequence[Heading]) -> tuple[str, ...]:
        return _without_repeats([self._title, *(heading.text for heading in headings)])


def _without_repeats(texts: Sequence[str]) -> tuple[str, ...]:
    """A title is often the first heading, too."""
    kept: list[str] = []
    for text in texts:
        if text and (not kept or text.casefold() != kept[-1].casefold()):
            kept.append(text)
    return tuple(kept)


def sections(
    document: ParsedDocument, count: Callable[[str], int], small: int, size: int
) -> Iterator[Section]:
    """Pieces of the text that begin at headings, in order and without gaps.

    One of fewer than `small` tokens goes with what follows it, as long as both together are no more than `size`;
    a heading that stands alone goes with what follows it in any case.
    """
    starts = [0, *(heading.start for heading in document.headings if heading.start > 0), len(document.text)]
    ends = {heading.start: heading.end for heading in document.headings}
    begin, tokens, is_bare = 0, 0, True
    for start, end in pairwise(starts):
        own = count(document.text[start:end])
        if start > begin and not is_bare and (tokens >= small or tokens + own > size):
            yield Section(begin, start)
            begin, tokens, is_bare = start, 0, True
        tokens += own
        is_bare = is_bare and not document.text[ends.get(start, start) : end].strip()
    yield Section(begin, len(document.text))
