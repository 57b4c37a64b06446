"""Each minute: models whose workflow was lost are tried again or settled; stacks and keys without a model go."""

from typing import Any

from lisa import aws
from lisa.models.executions import Executions
from lisa.models.reconcile import Reconciler
from lisa.models.routes import RouteStore
from lisa.models.secrets import ProviderKeys
from lisa.models.stacks import ModelStacks
from lisa.models.store import ModelStore
from lisa.observability import logger, traced
from lisa.settings import Settings

settings = Settings.from_environment()
reconcile = Reconciler(
    settings,
    ModelStore(settings.models_table, aws.dynamodb()),
    Executions(settings, aws.step_functions()),
    ModelStacks(settings, aws.cloudformation()),
    RouteStore(settings.models_table, aws.dynamodb()),
    ProviderKeys(settings.deployment, aws.secrets_manager()),
)


@traced
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    report = reconcile()
    logger.info("reconciled", extra=report.as_dict())
    return report.as_dict()
