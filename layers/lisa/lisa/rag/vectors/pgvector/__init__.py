"""The store in PostgreSQL: vectors by pgvector's HNSW index, words by exact BM25.

`connections` signs in, `schema` makes the tables and migrates them, `store` keeps the promise of
`lisa.rag.vectors.base`. `writing` puts documents in, `lists` keeps the posting lists of `bm25`. `searching` asks
`dense` and `lexical` within a `scope`, whose filter `filters` compiles.
"""

from lisa.rag.vectors.pgvector.connections import Address, Connections
from lisa.rag.vectors.pgvector.store import PgvectorStore

__all__ = ["Address", "Connections", "PgvectorStore"]
