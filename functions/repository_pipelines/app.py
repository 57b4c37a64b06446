"""States `Apply pipelines` and `Withdraw pipelines`: schedules by which a repository's folders are looked into."""

from lisa import aws
from lisa.rag.ingestion.wiring import schedules
from lisa.rag.repositories.store import RepositoryStore
from lisa.rag.repositories.workflow import ApplyPipelines, step
from lisa.settings import Settings

settings = Settings.from_environment()
pipelines = ApplyPipelines(RepositoryStore(settings.repositories_table, aws.dynamodb()), schedules(settings))
handler = step(lambda wish, event: pipelines(wish, event["desired"]))
