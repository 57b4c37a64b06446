"""A folder with documents, queries and judgements: docs.jsonl, queries.*.jsonl, qrels.*.tsv."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from lisa_local.console import Problem

_SUFFIX = ".html"


@dataclass(frozen=True, slots=True)
class Document:
    id: str
    title: str
    text: str

    @property
    def whole(self) -> str:
        return f"{self.title}\n{self.text}" if self.title else self.text


@dataclass(frozen=True, slots=True)
class Dataset:
    """`judgements[query][document]` is 0 for not relevant, more for more relevant.

    `empty` counts documents without a word, which nobody can find; `queries` are those that have a judgement.
    """

    name: str
    documents: tuple[Document, ...]
    queries: Mapping[str, str]
    judgements: Mapping[str, Mapping[str, int]]
    empty: int

    @classmethod
    def read(cls, folder: Path) -> Dataset:
        """Raises Problem naming the file and the line that is wrong."""
        documents, empty = [], 0
        for place, row in _rows(folder / "docs.jsonl"):
            document = Document(
                _text(row, "id", place), str(row.get("title") or ""), str(row.get("text") or "")
            )
            if document.whole.strip():
                documents.append(document)
            else:
                empty += 1
        judgements: dict[str, dict[str, int]] = {}
        for path in _some(folder, "qrels.*.tsv"):
            for number, line in enumerate(path.read_text().splitlines()[1:], 2):
                try:
                    query, document_id, judgement = line.split("\t")
                    judgements.setdefault(query, {})[document_id] = int(judgement)
                except ValueError:
                    raise Problem(f"{path}:{number}: three columns are needed, the last a number.") from None
        asked = {
            _text(row, "id", place): _text(row, "text", place)
            for path in _some(folder, "queries.*.jsonl")
            for place, row in _rows(path)
        }
        queries = {key: text for key, text in asked.items() if any(judgements.get(key, {}).values())}
        if not documents or not queries:
            raise Problem(f"{folder} has no documents, or no queries with relevant documents.")
        return cls(folder.resolve().name, tuple(documents), queries, judgements, empty)


def file_name(document_id: str) -> str:
    return quote(document_id, safe="") + _SUFFIX


def document_id(name: str) -> str:
    return unquote(name.removesuffix(_SUFFIX))


def content(document: Document) -> bytes:
    """The document as a page: its title is the page's."""
    paragraphs = "".join(f"<p>{html.escape(part)}</p>\n" for part in document.text.split("\n\n"))
    title = html.escape(document.title)
    page = f'<!doctype html>\n<html><head><meta charset="utf-8"><title>{title}</title></head>\n'
    return f"{page}<body>\n{paragraphs}</body></html>\n".encode()


def _some(folder: Path, pattern: str) -> list[Path]:
    found = sorted(folder.glob(pattern))
    if not found:
        raise Problem(f"{folder} has no {pattern}.")
    return found


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    if not path.exists():
        raise Problem(f"There is no {path}.")
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if not isinstance(row, dict):
                raise Problem(f"{path}:{number} is no JSON object.")
            yield f"{path}:{number}", row


def _text(row: Mapping[str, Any], name: str, place: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value:
        raise Problem(f"{place}: {name} must be a text.")
    return value
