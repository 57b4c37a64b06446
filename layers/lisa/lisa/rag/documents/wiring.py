"""Documents with their stores, as a function's settings say. It imports no step of ingestion: people wait for these."""

from lisa import aws
from lisa.rag.documents.queue import WorkQueue
from lisa.rag.documents.service import DocumentService
from lisa.rag.documents.stores import Stores
from lisa.rag.documents.uploads import Uploads
from lisa.rag.repositories.lookup import Lookup
from lisa.rag.repositories.store import RepositoryStore
from lisa.settings import Settings


def repositories(settings: Settings) -> RepositoryStore:
    return RepositoryStore(settings.repositories_table, aws.dynamodb())


def stores(settings: Settings) -> Stores:
    return Stores.of(settings.documents_table, aws.dynamodb())


def uploads(settings: Settings) -> Uploads:
    return Uploads(settings.documents_bucket, aws.s3(), max_bytes=settings.max_document_bytes)


def queue(settings: Settings) -> WorkQueue:
    return WorkQueue(settings.work_queue_url, aws.sqs(), interactive_url=settings.interactive_queue_url)


def service(settings: Settings) -> DocumentService:
    """For the functions that people's calls reach."""
    return DocumentService(
        aws.dynamodb(), Lookup(repositories(settings)), stores(settings), uploads(settings), queue(settings)
    )
