"""OpenAI's files and vector stores, called by the gateway on behalf of callers whose tokens it has verified."""

from typing import Any

from lisa import aws
from lisa.models.store import ModelStore
from lisa.observability import traced
from lisa.rag.answering import answered
from lisa.rag.documents import wiring
from lisa.rag.openai.interface import Call, interface_of
from lisa.rag.repositories.collections import CollectionService
from lisa.rag.repositories.embedding_models import EmbeddingModels, Gateway
from lisa.rag.repositories.lookup import Lookup
from lisa.rag.wire import principal_of
from lisa.settings import Settings

settings = Settings.from_environment()
repositories = wiring.repositories(settings)
stores = wiring.stores(settings)
interface = interface_of(
    settings.documents_table,
    aws.dynamodb(),
    lookup=Lookup(repositories),
    collections=CollectionService(
        repositories,
        EmbeddingModels(ModelStore(settings.models_table, aws.dynamodb()), Gateway()),
        stores,
        settings.documents_bucket,
    ),
    documents=wiring.service(settings),
    stores=stores,
    uploads=wiring.uploads(settings),
)


@traced
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    principal = principal_of(event["principal"])
    call = Call(principal, event["method"], event["route"], event["path"], event["query"], event["body"])
    return answered(
        lambda: (200, interface.answer(call)),
        requestId=str(event.get("requestId", "")),
        method=call.method,
        route=call.route,
        user=principal.user,
    )
