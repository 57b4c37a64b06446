"""From a file to its text: simple formats at once, others in a process with limits."""

from pathlib import Path

from lisa.rag.parsing import kinds, sandbox
from lisa.rag.parsing.document import DocumentRefused, Limits, ParsedDocument
from lisa.rag.parsing.formats import plain

AT_ONCE = frozenset({"text", "markdown", "csv", "json"})
"""Kinds that our own few lines read; the others' libraries meet hostile files only where they can do no harm."""


def parse(
    source: bytes | Path, name: str, media_type: str = "", limits: Limits | None = None
) -> ParsedDocument:
    """The text of a file. What it is says its content, then its `name`, then the `media_type` it was declared to be.

    Raises DocumentRefused with a reason for whoever dropped it. May be called from several threads; what a
    process of its own parses is parsed one after the other.
    """
    limits = limits or Limits()
    size = source.stat().st_size if isinstance(source, Path) else len(source)
    if size == 0:
        raise DocumentRefused("The file is empty.", "empty")
    if size > limits.bytes:
        raise DocumentRefused(
            f"The file has {size / (1 << 20):,.1f} MiB, and {limits.bytes / (1 << 20):,.0f} MiB are allowed.",
            "too_large",
        )
    data = source.read_bytes() if isinstance(source, Path) else source
    kind = kinds.kind_of(data, name, media_type)
    if kind.name in AT_ONCE:
        return plain.parse(data, kind, limits)
    return sandbox.parse(data, kind, limits)
