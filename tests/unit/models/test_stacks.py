import json
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from botocore.exceptions import ClientError
from lisa.errors import InvalidRequest
from lisa.models.instances import Instances
from lisa.models.naming import short_name, stack_name
from lisa.models.schema import ModelDefinition
from lisa.models.stacks import ModelStacks, StackView
from lisa.settings import Settings

from tests.unit.models.bodies import hosted

SETTINGS = Settings(
    deployment="lisa",
    stage="prod",
    cluster="lisa",
    capacity="managed",
    cpu_image="cpu@sha256:1",
    gpu_image="gpu@sha256:2",
    stack_role_arn="arn:aws:iam::123456789012:role/stack",
    model_start_timeout=1800,
    log_retention_days=7,
)
TEMPLATE = Path(__file__).parents[3] / "containers" / "model" / "model.yaml"


class Ec2:
    """What EC2 says of two instance types."""

    def describe_instance_types(self, InstanceTypes: list[str]) -> dict[str, Any]:
        if InstanceTypes == ["g5.12xlarge"]:
            return {
                "InstanceTypes": [
                    {
                        "VCpuInfo": {"DefaultVCpus": 48},
                        "MemoryInfo": {"SizeInMiB": 196_608},
                        "GpuInfo": {"Gpus": [{"Count": 4, "Name": "A10G"}]},
                        "InstanceStorageSupported": True,
                    }
                ]
            }
        raise ClientError(
            {"Error": {"Code": "InvalidInstanceType", "Message": "no such type"}}, "DescribeInstanceTypes"
        )


def definition(path: str = "", value: Any = None, **changes: Any) -> ModelDefinition:
    return ModelDefinition.model_validate(hosted(path, value, **changes))


def parameters(model: ModelDefinition, settings: Settings = SETTINGS) -> dict[str, Any]:
    stacks = ModelStacks(settings, client=None, instances=Instances(Ec2))
    return stacks.parameters(model, "s3://weights/org/weights/", 17)


class Loader(yaml.SafeLoader):
    pass


Loader.add_multi_constructor("!", lambda loader, suffix, node: None)


def test_every_parameter_that_is_given_is_one_of_the_templates_and_none_is_missing():
    # Given
    declared = yaml.load(TEMPLATE.read_text(), Loader)["Parameters"]

    # When
    given = {
        name: value
        for name, value in parameters(definition(instanceType="g5.12xlarge")).items()
        if value not in ("", None)
    }

    # Then
    assert set(given) <= set(declared)
    needed = {name for name, parameter in declared.items() if "Default" not in parameter}
    of_the_deployment = {
        "ListenerArn", "VpcId", "Subnets", "SecurityGroups", "TaskRoleArn", "ExecutionRoleArn",
    }  # fmt: skip
    assert needed - set(given) == of_the_deployment


def test_a_gpu_model_takes_its_whole_instance_less_what_the_instance_needs():
    given = parameters(definition(instanceType="g5.12xlarge"))
    assert (given["Gpus"], given["Cpu"], given["LocalStorage"]) == (4, 48 * 1024, "true")
    assert 180_000 < given["Memory"] < 196_608
    assert given["Image"] == "gpu@sha256:2"


def test_a_memory_reservation_goes_before():
    model = definition("containerConfig.memoryReservation", 9000, instanceType="g5.12xlarge")
    assert parameters(model)["Memory"] == 9000


def test_an_instance_type_that_does_not_exist_is_named():
    with pytest.raises(InvalidRequest, match=r"g9\.mega"):
        parameters(definition(instanceType="g9.mega"))


@pytest.mark.parametrize("engine", ["llamacpp", "onnx"])
def test_a_model_on_the_cpu_asks_for_no_gpu(engine):
    given = parameters(definition(inferenceContainer=engine, instanceType="m7i.large"))
    assert given["Gpus"] == 0
    assert given["Image"] == "cpu@sha256:1"


def test_one_machine_asks_nobody_for_instance_types():
    local = SETTINGS.model_copy(update={"capacity": "local"})
    assert parameters(definition(instanceType="g9.mega"), local)["Gpus"] is None


def test_an_image_of_ones_own_is_used_as_it_is():
    own = {"baseImage": "registry.example.com/own@sha256:3", "type": "registry"}
    model = definition("containerConfig.image", own, instanceType="g5.12xlarge")
    assert parameters(model)["Image"] == own["baseImage"]


def test_scaling_and_health_come_from_the_definition():
    model = definition(
        "autoScalingConfig",
        {"minCapacity": 2, "maxCapacity": 5, "cooldown": 90, "metricConfig": {"targetValue": 0}},
        instanceType="g5.12xlarge",
    )
    given = parameters(model)
    assert (given["MinCapacity"], given["MaxCapacity"], given["MaxInstances"]) == (2, 5, 6)
    assert (given["ScalingCooldown"], given["ScalingTarget"]) == (90, 1)
    assert (given["HealthPath"], given["HealthInterval"], given["HealthTimeout"]) == ("/health", 30, 10)
    assert given["LogRetentionDays"] == 7


def test_environment_travels_as_one_json_object():
    model = definition("containerConfig.environment", {"B": "2", "A": "1"}, instanceType="g5.12xlarge")
    assert json.loads(parameters(model)["ContainerEnvironment"]) == {"A": "1", "B": "2"}


# --- What CloudFormation says


class CloudFormation:
    """One stack, and what was asked of it."""

    def __init__(self, status: str | None, events: list[dict[str, str]] | None = None) -> None:
        # A client of its own, never called: only the classes of its errors are used.
        client = boto3.client(
            "cloudformation", region_name="us-east-1", aws_access_key_id="none", aws_secret_access_key="none"
        )
        self.exceptions = client.exceptions
        self.status = status
        self.events = events or []
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.refuses: ClientError | None = None

    def create_stack(self, **given: Any) -> None:
        if self.refuses:
            raise self.refuses
        self.asked.append(("create", given))

    def delete_stack(self, **given: Any) -> None:
        self.asked.append(("delete", given))

    def describe_stacks(self, StackName: str) -> dict[str, Any]:
        if self.status is None:
            message = f"Stack with id {StackName} does not exist"
            raise self.exceptions.ClientError(
                {"Error": {"Code": "ValidationError", "Message": message}}, "DescribeStacks"
            )
        return {"Stacks": [{"StackName": StackName, "StackStatus": self.status}]}

    def describe_stack_events(self, StackName: str) -> dict[str, Any]:
        return {"StackEvents": self.events}


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """A stack asked for with a template beside the module, as the layer has it."""
    monkeypatch.setattr("lisa.models.stacks.files", lambda package: tmp_path)
    (tmp_path / "model.yaml").write_text("Resources: {}")

    def run(client):
        stacks = ModelStacks(SETTINGS, client, Instances(Ec2))
        stacks.create(definition(instanceType="g5.12xlarge"), "s3://weights/org/weights/", 17)
        return client.asked

    return run


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (None, StackView("absent")),
        ("DELETE_COMPLETE", StackView("absent")),
        ("CREATE_IN_PROGRESS", StackView("working")),
        ("CREATE_COMPLETE", StackView("ready")),
        ("DELETE_IN_PROGRESS", StackView("working", removing=True)),
    ],
)
def test_a_stack_is_seen_as_what_it_means_for_the_model(status, expected):
    assert ModelStacks(SETTINGS, CloudFormation(status)).view("h1") == expected


@pytest.mark.parametrize(
    "status", ["CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_IN_PROGRESS", "DELETE_FAILED"]
)
def test_a_failure_is_told_by_the_resource_that_failed_first(status):
    # Given CloudFormation's events, the newest first
    events = [
        {
            "LogicalResourceId": "LogGroup",
            "ResourceStatus": "CREATE_FAILED",
            "ResourceStatusReason": "Resource creation cancelled",
        },
        {
            "LogicalResourceId": "Service",
            "ResourceStatus": "CREATE_FAILED",
            "ResourceStatusReason": "no capacity",
        },
        {"LogicalResourceId": "TaskDefinition", "ResourceStatus": "CREATE_COMPLETE"},
    ]

    # Then
    view = ModelStacks(SETTINGS, CloudFormation(status, events)).view("h1")
    assert view == StackView("failed", "Service: no capacity")


def test_a_stack_is_made_with_the_role_for_it_and_tagged_as_the_models(asked):
    ((kind, given),) = asked(CloudFormation(None))
    assert kind == "create"
    assert given["StackName"] == stack_name("lisa", "h1") == f"lisa-model-{short_name('h1')}"
    assert given["RoleARN"] == SETTINGS.stack_role_arn
    assert {tag["Key"]: tag["Value"] for tag in given["Tags"]} == {
        "lisa:deployment": "lisa",
        "lisa:model": "h1",
    }
    assert "Capabilities" not in given  # so it cannot make roles
    assert all(isinstance(parameter["ParameterValue"], str) for parameter in given["Parameters"])


def test_a_stack_that_is_there_counts_as_asked_for(asked):
    client = CloudFormation("CREATE_IN_PROGRESS")
    client.refuses = client.exceptions.AlreadyExistsException(
        {"Error": {"Code": "AlreadyExistsException", "Message": "is there"}}, "CreateStack"
    )
    assert asked(client) == []


def test_what_cloudformation_does_not_take_is_the_definitions_fault(asked):
    client = CloudFormation(None)
    client.refuses = client.exceptions.ClientError(
        {"Error": {"Code": "ValidationError", "Message": "Parameter Memory too large"}}, "CreateStack"
    )
    with pytest.raises(InvalidRequest, match="Memory too large"):
        asked(client)


def test_anything_else_is_tried_again(asked):
    client = CloudFormation(None)
    client.refuses = client.exceptions.ClientError(
        {"Error": {"Code": "Throttling", "Message": "Rate exceeded"}}, "CreateStack"
    )
    with pytest.raises(ClientError):
        asked(client)


@pytest.mark.parametrize(
    ("status", "there"),
    [
        ("CREATE_COMPLETE", True),
        ("DELETE_FAILED", True),
        ("DELETE_IN_PROGRESS", False),
        ("DELETE_COMPLETE", False),
    ],
)
def test_a_stack_is_there_until_its_removal_has_begun_and_not_failed(status, there):
    class Listing(CloudFormation):
        def get_paginator(self, _):
            return self

        def paginate(self):
            tags = [
                {"Key": "lisa:deployment", "Value": SETTINGS.deployment},
                {"Key": "lisa:model", "Value": "h1"},
            ]
            return [{"Stacks": [{"StackStatus": self.status, "Tags": tags}]}]

    assert ModelStacks(SETTINGS, Listing(status)).models_with_stack() == (["h1"] if there else [])
