"""Which embedding models there are, and how long their vectors are."""

from typing import Protocol

from lisa.errors import InvalidRequest
from lisa.identity.principal import Principal
from lisa.models.service import may_see
from lisa.models.store import ModelStore
from lisa.rag.embedding import embedder
from lisa.rag.records import StoreType

# The longest vectors that can be indexed: pgvector's halfvec under HNSW, Lucene's under OpenSearch.
# https://github.com/pgvector/pgvector#hnsw, https://docs.opensearch.org/latest/mappings/supported-field-types/knn-vector/
LONGEST = {StoreType.PGVECTOR: 4000, StoreType.OPENSEARCH: 16_000}


class Dimensions(Protocol):
    def dimensions(self, model: str) -> int:
        """The length of a model's vectors, by asking it; raises Unavailable when it does not answer."""


class EmbeddingModels:
    def __init__(self, models: ModelStore, embedder: Dimensions) -> None:
        self._models = models
        self._embedder = embedder

    def dimensions(
        self,
        principal: Principal,
        model_id: str,
        store: StoreType,
        *,
        field: str,
        expected: int | None = None,
    ) -> int:
        """The length of the vectors of a model that the caller may use.

        Raises InvalidRequest naming the model for one that is unknown, hidden or of another type, and for vectors of
        another length than expected, or longer than the store can index; Unavailable when the model does not answer.
        """
        record = self._models.get(model_id)
        if record is None or not may_see(principal, record):
            raise InvalidRequest(f"There is no model {model_id!r}.", code="model_not_found", field=field)
        if record.definition.model_type != "embedding":
            raise InvalidRequest(
                f"The model {model_id!r} is no embedding model but {record.definition.model_type}.",
                field=field,
            )
        found = self._embedder.dimensions(model_id)
        if expected is not None and expected != found:
            raise InvalidRequest(
                f"The vectors of {model_id!r} have {found} dimensions, not {expected}.", field="dimensions"
            )
        if found > LONGEST[store]:
            raise InvalidRequest(
                f"The vectors of {model_id!r} have {found} dimensions; {store} indexes {LONGEST[store]} at most.",
                field=field,
            )
        return found


class Gateway:
    """The models behind the gateway, which is looked for when the first is asked."""

    def dimensions(self, model: str) -> int:
        return embedder().dimensions(model)
