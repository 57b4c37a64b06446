"""State `Observe model`: its stack, its tasks, and whether it answers."""

from lisa import aws
from lisa.models.stacks import ModelStacks
from lisa.models.step import step
from lisa.models.store import ModelStore
from lisa.models.tasks import Tasks
from lisa.models.workflow import ObserveModel
from lisa.settings import Settings

settings = Settings.from_environment()
observe = ObserveModel(
    settings,
    ModelStore(settings.models_table, aws.dynamodb()),
    ModelStacks(settings, aws.cloudformation()),
    Tasks(aws.ecs(), aws.logs()),
)
handler = step(lambda wish, event: observe(wish))
