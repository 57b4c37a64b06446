"""Chunks in OpenSearch.

One OpenSearch index, of one shard, for each `Index`: its words are weighed among themselves, and it is dropped at
once. `schema` names it and says what it holds, `records` keeps which version of a document counts, `writing` and
`searching` are what the store promises (decision 0010).
"""

from lisa.rag.vectors.opensearch.client import Address
from lisa.rag.vectors.opensearch.store import OpenSearchStore

__all__ = ["Address", "OpenSearchStore"]
