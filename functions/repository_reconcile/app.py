"""Each minute: repositories and collections whose workflow was lost are tried again or settled."""

from typing import Any

from lisa import aws
from lisa.observability import logger, traced
from lisa.rag.repositories.executions import Executions
from lisa.rag.repositories.reconcile import Reconciler
from lisa.rag.repositories.store import RepositoryStore
from lisa.settings import Settings

settings = Settings.from_environment()
reconcile = Reconciler(
    RepositoryStore(settings.repositories_table, aws.dynamodb()),
    Executions(settings, aws.step_functions()),
)


@traced
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    report = reconcile()
    logger.info("reconciled", extra=report.as_dict())
    return report.as_dict()
