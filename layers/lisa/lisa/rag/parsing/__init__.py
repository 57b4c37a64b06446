"""Files to text: `parse` is all that others need."""

from lisa.rag.parsing.document import DocumentRefused, Heading, Limits, Page, ParsedDocument
from lisa.rag.parsing.service import parse

__all__ = ["DocumentRefused", "Heading", "Limits", "Page", "ParsedDocument", "parse"]
