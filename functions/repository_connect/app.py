"""State `Connect store`: reaches a repository's store, and tells it who may see the repository's collections."""

from lisa import aws
from lisa.rag.repositories.store import RepositoryStore
from lisa.rag.repositories.workflow import ConnectStore, step
from lisa.rag.vectors.connect import open_store
from lisa.settings import Settings

settings = Settings.from_environment()
connect = ConnectStore(
    RepositoryStore(settings.repositories_table, aws.dynamodb()),
    lambda repository: open_store(repository, settings),
)
handler = step(lambda wish, event: connect(wish, int(event["tries"])))
