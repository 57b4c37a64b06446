"""Rows of values, as text that is searched row by row."""

from collections.abc import Sequence

from lisa.rag.parsing.document import SEPARATOR, Builder, DocumentRefused, one_line

COLUMNS_LEVEL = 6
"""The names of columns are a heading, so that they are embedded with every piece of a long table."""

_MAX_COLUMNS_TEXT = 200


class Sheet:
    """Takes a table's rows as they come. The first one names the columns when all of it is words.

    A table without rows leaves nothing behind, not even its `name`.
    """

    def __init__(self, builder: Builder, name: str = "") -> None:
        self._builder = builder
        self._name = name
        self._rows = 0
        self._cells = 0

    def row(self, cells: Sequence[str]) -> None:
        """Raises DocumentRefused when it is one too many."""
        self._cells += len(cells)
        if self._cells > self._builder.limits.cells:
            raise DocumentRefused(
                f"The table has more than {self._builder.limits.cells:,} cells: split it.", "too_large"
            )
        if not any(cells):
            return
        first, self._rows = self._rows == 0, self._rows + 1
        if first:
            self._builder.heading(1, self._name)
        if first and _names(cells):
            names = SEPARATOR.join(one_line(cell) for cell in cells).rstrip(SEPARATOR)
            if len(names) <= _MAX_COLUMNS_TEXT:
                self._builder.heading(COLUMNS_LEVEL, names)
                return
        self._builder.row(cells)


def _names(cells: Sequence[str]) -> bool:
    filled = [cell for cell in cells if cell.strip()]
    return len(filled) > 1 and all(any(letter.isalpha() for letter in cell[:40]) for cell in filled)
