"""State `Delete stack`: asks for the stack's removal and says when it is gone."""

from lisa import aws
from lisa.models.priorities import PriorityStore
from lisa.models.stacks import ModelStacks
from lisa.models.step import step
from lisa.models.store import ModelStore
from lisa.models.workflow import DeleteStack
from lisa.settings import Settings

settings = Settings.from_environment()
delete_stack = DeleteStack(
    ModelStore(settings.models_table, aws.dynamodb()),
    ModelStacks(settings, aws.cloudformation()),
    PriorityStore(settings.models_table, aws.dynamodb()),
)
handler = step(lambda wish, event: delete_stack(wish, int(event["asked"])))
