"""States `Record ...`: writes where the workflow has ended into the row."""

from typing import Any

from aws_lambda_powertools.metrics import MetricUnit
from lisa import aws
from lisa.models.secrets import ProviderKeys
from lisa.models.step import step
from lisa.models.store import ModelStore
from lisa.models.workflow import SUPERSEDED, Outcome, RecordStatus, Wish
from lisa.observability import metrics
from lisa.settings import Settings

settings = Settings.from_environment()
record = RecordStatus(
    ModelStore(settings.models_table, aws.dynamodb()),
    ProviderKeys(settings.deployment, aws.secrets_manager()),
)


def work(wish: Wish, event: dict[str, Any]) -> Outcome:
    outcome = record(wish, event["status"], event.get("reason"))
    if outcome != SUPERSEDED:
        metrics.add_metric(name=f"Model{event['status']}", unit=MetricUnit.Count, value=1)
        metrics.flush_metrics()
    return outcome


handler = step(work)
