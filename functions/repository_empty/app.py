"""State `Empty repository`: wishes a repository's collections away, and says when none is left."""

from lisa import aws
from lisa.rag.repositories.store import RepositoryStore
from lisa.rag.repositories.workflow import EmptyRepository, step
from lisa.settings import Settings

settings = Settings.from_environment()
empty = EmptyRepository(RepositoryStore(settings.repositories_table, aws.dynamodb()))
handler = step(lambda wish, event: empty(wish, int(event["asked"])))
