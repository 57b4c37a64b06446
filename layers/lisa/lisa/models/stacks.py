"""The CloudFormation stack of a hosted model: made, looked at, removed."""

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal

from lisa.errors import InvalidRequest
from lisa.models import naming
from lisa.models.engines import CPU_ENGINES
from lisa.models.instances import Instances, InstanceSize
from lisa.models.schema import ModelDefinition
from lisa.settings import Settings

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient

StackState = Literal["absent", "working", "ready", "failed"]

# What a model on the CPU takes unless its definition says otherwise; a GPU model takes what its instance type has.
CPU_TASKS = {
    "llamacpp": InstanceSize(cpu=1024, memory=2048, gpus=0, local_storage=False),
    "onnx": InstanceSize(cpu=1024, memory=1024, gpus=0, local_storage=False),
}


@dataclass(frozen=True, slots=True)
class StackView:
    state: StackState
    reason: str | None = None
    removing: bool = False


class ModelStacks:
    """Stacks from `model.yaml`, which travels beside this module."""

    def __init__(
        self, settings: Settings, client: "CloudFormationClient", instances: Instances | None = None
    ) -> None:
        self._settings = settings
        self._client = client
        self._instances = instances

    def create(self, definition: ModelDefinition, weights_uri: str, priority: int) -> None:
        """Asks for the stack; one that is there already is taken as asked for."""
        settings = self._settings
        parameters = [
            {"ParameterKey": name, "ParameterValue": str(value)}
            for name, value in self.parameters(definition, weights_uri, priority).items()
            if value not in ("", None)
        ]
        extra: dict[str, Any] = {"RoleARN": settings.stack_role_arn} if settings.stack_role_arn else {}
        try:
            self._client.create_stack(
                StackName=naming.stack_name(settings.deployment, definition.model_id),
                TemplateBody=files("lisa.models").joinpath("model.yaml").read_text(),
                Parameters=parameters,  # type: ignore[arg-type]
                # A stack that failed stays as it is until its reason has been read; then it is deleted.
                OnFailure="DO_NOTHING",
                TimeoutInMinutes=max(1, settings.model_start_timeout // 60),
                Tags=[
                    {"Key": "lisa:deployment", "Value": settings.deployment},
                    {"Key": "lisa:model", "Value": definition.model_id},
                ],
                **extra,
            )
        except self._client.exceptions.AlreadyExistsException:
            return
        except self._client.exceptions.ClientError as error:
            if error.response["Error"]["Code"] != "ValidationError":
                raise
            # Parameters that the template does not take: trying again would not help.
            message = error.response["Error"]["Message"]
            raise InvalidRequest(f"CloudFormation does not take its definition: {message}") from None

    def parameters(self, definition: ModelDefinition, weights_uri: str, priority: int) -> dict[str, Any]:
        """The parameters of `model.yaml`; what is empty takes the template's default."""
        settings, model_id = self._settings, definition.model_id
        container, scaling = definition.container_config, definition.auto_scaling_config
        balancer, engine = definition.load_balancer_config, definition.inference_container
        if container is None or scaling is None or balancer is None or engine is None:
            raise ValueError(f"{model_id} is not a hosted model")
        health = balancer.health_check_config
        size = self._size(definition)
        image = container.image.base_image
        if container.image.type == "asset" or not image:
            image = settings.cpu_image if engine in CPU_ENGINES else settings.gpu_image
        return {
            "Deployment": settings.deployment,
            "Stage": settings.stage,
            "ModelId": model_id,
            "ShortName": naming.short_name(model_id),
            "Image": image,
            "Engine": engine,
            "ModelType": definition.model_type,
            "WeightsUri": weights_uri,
            "ContextWindow": definition.context_window,
            "ContainerEnvironment": _json(container.environment),
            "Cpu": size.cpu if size else None,
            "Memory": container.memory_reservation or (size.memory if size else None),
            "Gpus": size.gpus if size else None,
            "LocalStorage": "true" if size and size.local_storage else None,
            "SharedMemory": container.shared_memory_size or None,
            "InstanceType": definition.instance_type,
            "Capacity": settings.capacity,
            "Cluster": settings.cluster,
            "ListenerArn": settings.listener_arn,
            "RulePriority": priority,
            "HostHeader": naming.host_header(model_id),
            "VpcId": settings.vpc_id,
            "Subnets": settings.subnets,
            "SecurityGroups": settings.model_security_groups,
            "TaskRoleArn": settings.task_role_arn,
            "ExecutionRoleArn": settings.execution_role_arn,
            "InfrastructureRoleArn": settings.infrastructure_role_arn,
            "InstanceProfileArn": settings.instance_profile_arn,
            "LogGroupName": naming.log_group(settings.deployment, model_id),
            "LogRetentionDays": settings.log_retention_days,
            "VolumeSize": scaling.block_device_volume_size,
            "HealthPath": health.path,
            "HealthInterval": health.interval,
            "HealthTimeout": health.timeout,
            "HealthyThreshold": health.healthy_threshold_count,
            "UnhealthyThreshold": health.unhealthy_threshold_count,
            "StartPeriod": settings.model_start_timeout,
            "MinCapacity": scaling.min_capacity,
            "MaxCapacity": scaling.max_capacity,
            "MaxInstances": scaling.max_capacity + 1,
            "ScalingTarget": max(1, scaling.metric_config.target_value),
            "ScalingCooldown": scaling.cooldown,
        }

    def _size(self, definition: ModelDefinition) -> InstanceSize | None:
        """What the task asks for; None leaves it to the template. One machine has no instance types."""
        engine, instance_type = definition.inference_container, definition.instance_type
        if engine in CPU_TASKS:
            return CPU_TASKS[engine]
        if self._instances is None or instance_type is None or self._settings.capacity == "local":
            return None
        return self._instances.size(instance_type)

    def view(self, model_id: str) -> StackView:
        name = naming.stack_name(self._settings.deployment, model_id)
        try:
            stacks = self._client.describe_stacks(StackName=name)["Stacks"]
        except self._client.exceptions.ClientError as error:
            if "does not exist" in str(error):
                return StackView("absent")
            raise
        status = stacks[0]["StackStatus"] if stacks else "DELETE_COMPLETE"
        if status == "DELETE_COMPLETE":
            return StackView("absent")
        if status == "CREATE_COMPLETE":
            return StackView("ready")
        if status == "DELETE_IN_PROGRESS":
            return StackView("working", removing=True)
        if status.endswith("_FAILED") or "ROLLBACK" in status:
            return StackView(
                "failed", self._first_failure(name) or stacks[0].get("StackStatusReason") or status
            )
        return StackView("working")

    def delete(self, model_id: str) -> None:
        """Asks for the stack's removal; one that is not there is removed already."""
        name = naming.stack_name(self._settings.deployment, model_id)
        extra: dict[str, Any] = (
            {"RoleARN": self._settings.stack_role_arn} if self._settings.stack_role_arn else {}
        )
        self._client.delete_stack(StackName=name, **extra)

    def models_with_stack(self) -> list[str]:
        """Ids of the models that this deployment has a stack for."""
        found = []
        for page in self._client.get_paginator("describe_stacks").paginate():
            for stack in page["Stacks"]:
                tags = {tag["Key"]: tag["Value"] for tag in stack.get("Tags", [])}
                if (
                    tags.get("lisa:deployment") == self._settings.deployment
                    and "lisa:model" in tags
                    and stack["StackStatus"] not in ("DELETE_IN_PROGRESS", "DELETE_COMPLETE")
                ):
                    found.append(tags["lisa:model"])
        return found

    def _first_failure(self, name: str) -> str | None:
        """The resource that failed first; the others only follow it."""
        events = self._client.describe_stack_events(StackName=name)["StackEvents"]
        for event in reversed(events):  # the newest comes first
            reason = event.get("ResourceStatusReason", "")
            if event.get("ResourceStatus", "").endswith("_FAILED") and "cancelled" not in reason.lower():
                return f"{event.get('LogicalResourceId')}: {reason}"
        return None


def _json(environment: dict[str, str]) -> str | None:
    return json.dumps(environment, separators=(",", ":"), sort_keys=True) if environment else None
