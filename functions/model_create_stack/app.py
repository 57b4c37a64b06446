"""State `Create stack`: asks CloudFormation for the model's stack."""

from lisa import aws
from lisa.models.instances import Instances
from lisa.models.priorities import PriorityStore
from lisa.models.stacks import ModelStacks
from lisa.models.step import step
from lisa.models.store import ModelStore
from lisa.models.weights import Weights
from lisa.models.workflow import CreateStack
from lisa.settings import Settings

settings = Settings.from_environment()
create_stack = CreateStack(
    ModelStore(settings.models_table, aws.dynamodb()),
    # Only the address is needed here; nothing is read from the bucket.
    Weights(settings.weights_bucket, aws.s3()),
    PriorityStore(settings.models_table, aws.dynamodb()),
    ModelStacks(settings, aws.cloudformation(), Instances(aws.ec2)),
)
handler = step(lambda wish, event: create_stack(wish))
