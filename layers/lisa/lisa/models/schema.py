"""What people send and get: upstream's model object, checked. Field names are upstream's, in camelCase."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)
from pydantic.alias_generators import to_camel

from lisa.errors import InvalidRequest
from lisa.guardrails.definition import GuardrailDefinition, keyed_by_name
from lisa.models.engines import Engine
from lisa.models.routes import Mode

ModelType = Literal["textgen", "imagegen", "videogen", "embedding"]
HostingType = Literal["third_party", "lisa_hosted", "internal_hosted"]
Status = Literal["Creating", "InService", "Starting", "Stopping", "Stopped", "Updating", "Deleting", "Failed"]

# What is in the path of an address, a served name and a label: nothing that any of them would read otherwise.
ModelId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$")]
ModelName = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[!-~]+$")]
GroupName = Annotated[str, StringConstraints(min_length=1, max_length=128)]
PositiveInt = Annotated[int, Field(gt=0)]

HOSTING_FIELDS = (
    "autoScalingConfig",
    "containerConfig",
    "inferenceContainer",
    "instanceType",
    "loadBalancerConfig",
)

_WEIGHTS_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$")
_DEFAULT_MODE: dict[str, Mode] = {
    "textgen": "chat",
    "embedding": "embedding",
    "imagegen": "image_generation",
}


class _Part(BaseModel):
    # Unknown fields are ignored: what GET answered can be posted again, and upstream's clients send more than is used.
    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, strict=True, extra="ignore"
    )


class Feature(_Part):
    name: str
    overview: str = ""


class MetricConfig(_Part):
    """What scaling looks at; times in seconds."""

    alb_metric_name: str = "RequestCountPerTarget"
    target_value: Annotated[int, Field(ge=0)] = 30
    duration: PositiveInt = 60
    estimated_instance_warmup: PositiveInt = 180


class AutoScalingConfig(_Part):
    """How many tasks; times in seconds, volume in GiB."""

    min_capacity: PositiveInt = 1
    max_capacity: PositiveInt = 1
    desired_capacity: PositiveInt | None = None
    cooldown: PositiveInt = 420
    default_instance_warmup: Annotated[int, Field(ge=1, le=3600)] = 180
    block_device_volume_size: Annotated[int, Field(ge=30, le=16384)] = 50
    metric_config: MetricConfig = Field(default_factory=MetricConfig)

    @model_validator(mode="after")
    def _ordered(self) -> "AutoScalingConfig":
        desired = self.desired_capacity if self.desired_capacity is not None else self.min_capacity
        if not self.min_capacity <= desired <= self.max_capacity:
            raise ValueError("minCapacity, desiredCapacity and maxCapacity must not decrease in this order")
        return self


class ContainerHealthCheck(_Part):
    command: str | list[str]
    interval: PositiveInt = 10
    start_period: Annotated[int, Field(ge=0)] = 30
    timeout: PositiveInt = 5
    retries: PositiveInt = 3

    @model_validator(mode="after")
    def _runnable(self) -> "ContainerHealthCheck":
        command = self.command
        if isinstance(command, str):
            if not command.strip():
                raise ValueError("command must not be empty")
        elif len(command) < 2 or command[0] not in ("CMD", "CMD-SHELL") or not command[1]:
            raise ValueError('command must be a string, or a list that starts with "CMD" or "CMD-SHELL"')
        return self


class Image(_Part):
    """`asset` is the deployment's own image for the engine; `ecr` and `registry` name one."""

    base_image: str = ""
    type: Literal["asset", "ecr", "registry"] = "asset"


class ContainerConfig(_Part):
    """Shared memory and memory in MiB."""

    image: Image
    shared_memory_size: Annotated[int, Field(ge=0)] = 64
    memory_reservation: Annotated[int, Field(ge=0)] | None = None
    health_check_config: ContainerHealthCheck
    environment: dict[Annotated[str, StringConstraints(min_length=1)], str] = Field(default_factory=dict)


class LoadBalancerHealthCheck(_Part):
    path: Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9._/-]*$")] = "/health"
    interval: Annotated[int, Field(ge=5, le=300)] = 30
    timeout: Annotated[int, Field(ge=2, le=120)] = 10
    healthy_threshold_count: Annotated[int, Field(ge=2, le=10)] = 2
    unhealthy_threshold_count: Annotated[int, Field(ge=2, le=10)] = 5

    @model_validator(mode="after")
    def _in_time(self) -> "LoadBalancerHealthCheck":
        if self.timeout >= self.interval:
            raise ValueError("timeout must be less than interval")
        return self


class LoadBalancerConfig(_Part):
    health_check_config: LoadBalancerHealthCheck


# Upstream's map: what the keys are does not matter, they are read back as `guardrail-<its name>`.
Guardrails = Annotated[dict[str, GuardrailDefinition], AfterValidator(keyed_by_name)]


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


class ModelDefinition(_Part):
    """What an admin asks for: the body of `POST /models` without the provider's key."""

    model_id: ModelId
    model_name: ModelName
    model_type: ModelType
    model_description: Annotated[str, StringConstraints(max_length=4096)] | None = None
    model_url: Annotated[str, StringConstraints(max_length=2048)] | None = None
    streaming: bool = False
    features: list[Feature] | None = None
    allowed_groups: list[GroupName] | None = None
    guardrails_config: Guardrails | None = None
    context_window: PositiveInt | None = None
    mode: Mode | None = None
    hosting_type: Annotated[HostingType, BeforeValidator(_lower)] = "third_party"
    auto_scaling_config: AutoScalingConfig | None = None
    container_config: ContainerConfig | None = None
    inference_container: Engine | None = None
    instance_type: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+\.[a-z0-9-]+$")] | None = None
    load_balancer_config: LoadBalancerConfig | None = None

    @model_validator(mode="before")
    @classmethod
    def _null_is_unset(cls, value: Any) -> Any:
        """GET answers null where nothing is set; posted again, that means the default."""
        if isinstance(value, Mapping):
            return {name: part for name, part in value.items() if part is not None}
        return value

    @property
    def hosted(self) -> bool:
        """Whether LISA builds the infrastructure (the hosting fields decide, as upstream has it)."""
        return self.inference_container is not None

    @property
    def route_mode(self) -> Mode:
        return self.mode or _DEFAULT_MODE.get(self.model_type, "chat")

    def check(self) -> None:
        """The rules between fields.

        Raises InvalidRequest naming the field.
        """
        if self.model_type == "embedding" and self.streaming:
            raise InvalidRequest(
                "An embedding model does not stream: leave streaming out.", field="streaming"
            )
        if self.model_type == "videogen":
            raise InvalidRequest("Video models cannot be served yet.", field="modelType")
        if self.model_type in ("embedding", "imagegen") or self.route_mode == "audio_speech":
            for guardrail in (self.guardrails_config or {}).values():
                if guardrail.mode == "post_call":
                    raise InvalidRequest(
                        f"The guardrail {guardrail.guardrail_name!r} cannot read what this model answers, "
                        "which is no text: use the mode pre_call.",
                        field="guardrailsConfig",
                    )
        given = [name for name in HOSTING_FIELDS if getattr(self, _snake(name)) is not None]
        missing = [name for name in HOSTING_FIELDS if name not in given]
        if (given or self.hosting_type == "lisa_hosted") and missing:
            raise InvalidRequest(
                f"A hosted model needs all of {', '.join(HOSTING_FIELDS)}: {', '.join(missing)} missing.",
                field=missing[0],
            )
        if given and not _WEIGHTS_NAME.match(self.model_name):
            raise InvalidRequest(
                "modelName of a hosted model names its folder in the weights bucket: letters, digits, '.', '-', "
                "'_', in parts divided by '/'.",
                field="modelName",
            )
        if self.hosting_type == "internal_hosted" and not self.model_url:
            raise InvalidRequest("An internally hosted model needs its modelUrl.", field="modelUrl")

    def stored(self) -> dict[str, Any]:
        """The definition as it is kept and shown: upstream's names, null where unset."""
        shown = self.model_dump(by_alias=True, mode="json")
        if self.hosted:
            shown["hostingType"] = "lisa_hosted"
        return shown


class CreateModel(ModelDefinition):
    """The body of `POST /models`. The key is taken out before anything is stored."""

    api_key: Annotated[str, StringConstraints(min_length=1, max_length=4096)] | None = Field(
        default=None, repr=False
    )

    def definition(self) -> ModelDefinition:
        return ModelDefinition.model_validate(self.model_dump(by_alias=True, exclude={"api_key"}))


class Model(ModelDefinition):
    """A model as `GET /models` shows it."""

    status: Status
    reason: str | None = None


class ModelAnswer(BaseModel):
    model: Model


class ModelsAnswer(_Part):
    models: list[Model]
    next_token: str | None = None


class ErrorAnswer(_Part):
    """Every error of the management API."""

    message: str
    code: str
    field: str | None = None
    request_id: str


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])([A-Z])", lambda found: "_" + found[1].lower(), name)
