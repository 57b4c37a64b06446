"""Names and mapping of the index that an `Index` is in OpenSearch.

It holds chunks, and one record for each document (`records`). Who may see it is a matter of aliases: an index is
searched by the aliases of the reader alone, so that what they may not see is never searched. Aliases change
together and at once for every search that begins afterwards.
"""

import hashlib
from collections.abc import Iterator

from lisa.rag.vectors.base import Index, Reader, Visibility
from lisa.rag.vectors.opensearch.client import Address, Json

SHARDS = 1
"""What keeps a search whole is that a document's record and its chunks change in one shard, in order."""

SHOWN_AFTER = "200ms"
"""How soon searches see what was written. One refresh is for all who wait for it, so many writers make no more
segments, which are dear to merge, than a few."""

# Lucene's defaults, which both stores score by.
K1 = 1.2
B = 0.75
# Neighbours and candidates of a vector in the graph.
GRAPH: Json = {"m": 16, "ef_construction": 128}


def name_of(address: Address, index: Index) -> str:
    """Ids are anything; OpenSearch's names are lower-case and short."""
    whole = f"{index.repository_id}\0{index.collection_id}".encode(errors="surrogatepass")
    return f"{address.prefix}-{hashlib.sha256(whole).hexdigest()[:32]}-{index.generation}"


def door(name: str) -> str:
    """The alias that is written by: unlike the index's own name it is never made by writing to it."""
    return f"{name}.door"


def audience(name: str, visibility: Visibility) -> list[str]:
    """The aliases by which those may search who may see it: the owner always, everyone where nobody is named."""
    groups = [_alias(name, "group", group) for group in sorted(set(visibility.groups))]
    owner = [_alias(name, "owner", visibility.owner)] if visibility.owner else []
    return groups + owner or [f"{name}.for.everyone"]


def entrances(name: str, reader: Reader) -> list[str]:
    """The aliases by which a reader may search, be they there or not; administrators come by the door."""
    if reader.is_admin:
        return [door(name)]
    groups = [_alias(name, "group", group) for group in sorted(reader.groups)]
    return [f"{name}.for.everyone", _alias(name, "owner", reader.user), *groups]


def all_audiences(name: str) -> str:
    return f"{name}.for.*"


def _alias(name: str, kind: str, who: str) -> str:
    return f"{name}.for.{kind}.{hashlib.sha256(who.encode(errors='surrogatepass')).hexdigest()[:32]}"


def body(address: Address, index: Index, visibility: Visibility) -> Json:
    """Settings, mapping and aliases of a new index."""
    name = name_of(address, index)
    return {
        "settings": {
            "index": {
                "number_of_shards": SHARDS,
                "auto_expand_replicas": "0-1",
                "refresh_interval": SHOWN_AFTER,
                "knn": True,
                "similarity": {"default": {"type": "BM25", "k1": K1, "b": B}},
            }
        },
        "mappings": {
            # Nothing that people name becomes a field: attributes are terms of `facts`.
            "dynamic": False,
            # Terms are looked up in the index, and vectors are read back from it: no need to keep them twice.
            "_source": {"excludes": ["content", "facts", "vector"]},
            "properties": {
                "document": {"type": "keyword"},
                "version": {"type": "keyword"},
                "ordinal": {"type": "integer"},
                "content": {"type": "text", "analyzer": "english", "index_options": "freqs"},
                "facts": {"type": "keyword"},
                "vector": {
                    "type": "knn_vector",
                    "dimension": index.dimensions,
                    "method": {
                        "name": "hnsw",
                        "engine": address.engine,
                        "space_type": "cosinesimil",
                        "parameters": GRAPH,
                    },
                },
                "hidden": {"type": "keyword"},
                "live": {"type": "boolean"},
                "count": {"type": "integer"},
            },
        },
        "aliases": {alias: {} for alias in (door(name), *audience(name, visibility))},
    }


def visibility_actions(name: str, visibility: Visibility) -> Iterator[Json]:
    yield {"remove": {"index": name, "alias": all_audiences(name)}}
    for alias in audience(name, visibility):
        yield {"add": {"index": name, "alias": alias}}
