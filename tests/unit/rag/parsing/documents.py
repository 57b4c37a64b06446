"""Real files, made by LibreOffice, pandoc and others (tests/fixtures/documents/make.sh)."""

from pathlib import Path

from lisa.rag.parsing import DocumentRefused, Limits, ParsedDocument, parse

FOLDER = Path(__file__).resolve().parents[3] / "fixtures" / "documents"


def parsed(name: str) -> ParsedDocument:
    return parse(FOLDER / name, name)


def refusal(data: bytes, name: str, limits: Limits | None = None) -> DocumentRefused:
    """Why a file is refused; fails when it is not."""
    try:
        found = parse(data, name, limits=limits)
    except DocumentRefused as refused:
        return refused
    raise AssertionError(f"{name} was taken: {found.text[:200]!r}")
