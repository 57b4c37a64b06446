"""The search service of a function, by its environment."""

from lisa import aws
from lisa.rag.documents.store import DocumentStore
from lisa.rag.embedding import embedder
from lisa.rag.repositories.lookup import Lookup
from lisa.rag.repositories.store import RepositoryStore
from lisa.rag.search.service import SearchService
from lisa.rag.tokenizing import tokenizers_of_process
from lisa.rag.vectors.connect import open_store
from lisa.settings import Settings

# The function has 29 seconds, as API Gateway waits no longer: a database that wakes up has its own share of them.
READ_SECONDS = 10.0


def service(settings: Settings) -> SearchService:
    return SearchService(
        Lookup(RepositoryStore(settings.repositories_table, aws.dynamodb())),
        DocumentStore(settings.documents_table, aws.dynamodb()),
        lambda model: tokenizers_of_process().of(model),
        embedder(READ_SECONDS),
        lambda repository: open_store(repository, settings),
    )
