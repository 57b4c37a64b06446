"""The store in PostgreSQL: vectors by pgvector's HNSW index, words by BM25 over an inverted index.

`connections` signs in, `schema` makes the tables and migrates them, `store` keeps the promise of
`lisa.rag.vectors.base`, `writing` puts documents in, `filters` compiles filters, `dense` and `lexical` search.
"""

from lisa.rag.vectors.pgvector.connections import Address, Connections
from lisa.rag.vectors.pgvector.store import PgvectorStore

__all__ = ["Address", "Connections", "PgvectorStore"]
