"""States `Create index` and `Drop index` of a collection, in its repository's store."""

from lisa import aws
from lisa.rag.repositories.store import RepositoryStore
from lisa.rag.repositories.workflow import IndexCollection, step
from lisa.rag.vectors.connect import open_store
from lisa.settings import Settings

settings = Settings.from_environment()
index = IndexCollection(
    RepositoryStore(settings.repositories_table, aws.dynamodb()),
    lambda repository: open_store(repository, settings),
)
handler = step(lambda wish, event: index(wish, event["desired"], int(event["tries"])))
