"""States `Record ...`: writes where the workflow of a repository or collection has ended into the row."""

from lisa import aws
from lisa.rag.documents.stores import Stores
from lisa.rag.repositories.store import RepositoryStore
from lisa.rag.repositories.workflow import RecordStatus, step
from lisa.settings import Settings

settings = Settings.from_environment()
record = RecordStatus(
    RepositoryStore(settings.repositories_table, aws.dynamodb()),
    Stores.of(settings.documents_table, aws.dynamodb()).jobs,
)
handler = step(lambda wish, event: record(wish, event["status"], event.get("reason", "")))
