"""States `Record ...`: writes where the workflow has ended into the row."""

from lisa import aws
from lisa.models.secrets import ProviderKeys
from lisa.models.step import step
from lisa.models.store import ModelStore
from lisa.models.workflow import RecordStatus
from lisa.settings import Settings

settings = Settings.from_environment()
record = RecordStatus(
    ModelStore(settings.models_table, aws.dynamodb()),
    ProviderKeys(settings.deployment, aws.secrets_manager()),
)
handler = step(lambda wish, event: record(wish, event["status"], event.get("reason")))
