"""Parsed documents to chunks: `chunks` cuts, `embedded_text` says what of a chunk is embedded and looked for."""

from lisa.rag.chunking.chunks import chunks, effective, embedded_text, fitting_text

__all__ = ["chunks", "effective", "embedded_text", "fitting_text"]
