"""State `Model check`: is the wish still the newest, and can it work at all?"""

from lisa import aws
from lisa.models.step import step
from lisa.models.store import ModelStore
from lisa.models.weights import Weights
from lisa.models.workflow import CheckModel
from lisa.settings import Settings

settings = Settings.from_environment()
check = CheckModel(
    ModelStore(settings.models_table, aws.dynamodb()), Weights(settings.weights_bucket, aws.s3())
)
handler = step(lambda wish, event: check(wish))
