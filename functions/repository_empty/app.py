"""State `Empty repository`: wishes a repository's collections away, forgets its jobs, and says when nothing is left."""

from lisa.rag.documents import wiring as documents
from lisa.rag.ingestion import wiring
from lisa.rag.repositories.workflow import EmptyRepository, step
from lisa.settings import Settings

settings = Settings.from_environment()
empty = EmptyRepository(documents.repositories(settings), wiring.forgetter(settings).forget_repository)
handler = step(lambda wish, event: empty(wish, int(event["asked"])))
