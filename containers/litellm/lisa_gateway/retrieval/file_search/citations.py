"""Which passages an answer rests on: the numbers in square brackets that it holds."""

import re
from collections.abc import Sequence
from typing import Any

from lisa_gateway.retrieval.searching import Found

_MARK = re.compile(r"\[(\d{1,3}(?:\s*[,;]\s*\d{1,3})*)\]")
_NUMBER = re.compile(r"\d+")


def annotations(text: str, shown: Sequence[Found]) -> list[dict[str, Any]]:
    """A `file_citation` for each number that is one of a passage; `index` is where its bracket begins in the text."""
    found: list[dict[str, Any]] = []
    for mark in _MARK.finditer(text):
        files: set[str] = set()
        for number in map(int, _NUMBER.findall(mark[1])):
            if not 1 <= number <= len(shown):
                continue
            passage = shown[number - 1]
            if passage.file_id not in files:
                files.add(passage.file_id)
                found.append(
                    {
                        "type": "file_citation",
                        "index": mark.start(),
                        "file_id": passage.file_id,
                        "filename": passage.filename,
                    }
                )
    return found
