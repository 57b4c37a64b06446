"""model.yaml, put together for the places and machines that a model runs on."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.model.process import ROOT
from tests.unit.model.template import Template

PATH = ROOT / "containers" / "model" / "model.yaml"
# The seam with the function that creates the stack.
PARAMETERS = """
    Deployment, Stage, ModelId, ShortName, Image, Engine, ModelType, WeightsUri, ContextWindow, EngineArgs,
    ContainerEnvironment, Cpu, Memory, Gpus, SharedMemory, InstanceType, Capacity, Cluster, ListenerArn, RulePriority,
    HostHeader, VpcId, Subnets, SecurityGroups, TaskRoleArn, ExecutionRoleArn, InfrastructureRoleArn,
    InstanceProfileArn, LogGroupName, HealthPath, HealthInterval, HealthTimeout, HealthyThreshold, UnhealthyThreshold,
    StartPeriod, MinCapacity, MaxCapacity
"""
REQUIRED = {
    "Deployment": "lisa",
    "Stage": "prod",
    "ModelId": "my-model",
    "ShortName": "abcdefghij27",
    "Image": "lisa/model-gpu@sha256:" + "0" * 64,
    "Engine": "vllm",
    "ModelType": "textgen",
    "WeightsUri": "s3://weights/org/model/",
    "Cluster": "lisa",
    "ListenerArn": "arn:aws:elasticloadbalancing:us-east-1:000000000000:listener/app/lisa-models/1234abcd/5678efgh",
    "RulePriority": "7",
    "HostHeader": "abcdefghij27.models.internal",
    "VpcId": "vpc-0a1b",
    "Subnets": "subnet-1,subnet-2",
    "SecurityGroups": "sg-1",
    "TaskRoleArn": "arn:aws:iam::000000000000:role/lisa-task",
    "ExecutionRoleArn": "arn:aws:iam::000000000000:role/lisa-execution",
    "InfrastructureRoleArn": "arn:aws:iam::000000000000:role/lisa-infrastructure",
    "InstanceProfileArn": "arn:aws:iam::000000000000:instance-profile/lisa",
    "LogGroupName": "/lisa/models/abcdefghij27",
}


def template(**parameters: str) -> Template:
    return Template(str(PATH), **(REQUIRED | parameters))


def container(made: Template) -> dict:
    (task,) = made.of_type("AWS::ECS::TaskDefinition")
    (only,) = task["ContainerDefinitions"]
    return only


def test_cfn_lint_has_nothing_to_say():
    lint = subprocess.run(
        [Path(sys.executable).with_name("cfn-lint"), PATH], capture_output=True, text=True, check=False
    )
    assert (lint.returncode, lint.stdout) == (0, "")


def test_it_is_small_enough_to_travel_in_a_call():
    # CloudFormation's own limit of a TemplateBody is 51,200 bytes.
    assert PATH.stat().st_size < 50_000


def test_its_parameters_are_those_that_its_caller_gives():
    made = template()
    agreed = set(re.findall(r"\w+", PARAMETERS))
    assert agreed <= set(made.declared)
    assert all("Default" in made.declared[name] for name in set(made.declared) - agreed)
    assert all(declared["Description"] for declared in made.declared.values())


def test_it_makes_no_role_and_gives_no_permission():
    assert "AWS::IAM" not in PATH.read_text()


@pytest.mark.parametrize(
    ("instance", "gpus", "cpu", "memory", "shared"),
    [
        ("g5.xlarge", "1", "3072", "14336", "1024"),
        ("g6e.12xlarge", "4", "46080", "368640", "16384"),
        ("p5.48xlarge", "8", "190464", "1966080", "65536"),
    ],
)
def test_a_gpu_model_reserves_its_gpus_on_its_own_instances(instance, gpus, cpu, memory, shared):
    # When
    made = template(
        InstanceType=instance, Gpus=gpus, Cpu=cpu, Memory=memory, SharedMemory=shared, LocalStorage="true"
    )
    # Then
    (task,) = made.of_type("AWS::ECS::TaskDefinition")
    assert (task["Cpu"], task["Memory"], task["RequiresCompatibilities"]) == (
        cpu,
        memory,
        ["MANAGED_INSTANCES"],
    )
    assert container(made)["ResourceRequirements"] == [{"Type": "GPU", "Value": gpus}]
    assert "SharedMemorySize" not in container(made)["LinuxParameters"]  # refused on Managed Instances
    (provider,) = made.of_type("AWS::ECS::CapacityProvider")
    launch = provider["ManagedInstancesProvider"]["InstanceLaunchTemplate"]
    assert launch["InstanceRequirements"]["AllowedInstanceTypes"] == [instance]
    assert launch["InstanceRequirements"]["AcceleratorTypes"] == ["gpu"]
    assert launch["LocalStorageConfiguration"] == {"UseLocalStorage": True}


def test_a_cpu_model_asks_for_no_gpu():
    made = template(Engine="onnx", ModelType="embedding", InstanceType="m7i.large")
    assert "ResourceRequirements" not in container(made)
    (provider,) = made.of_type("AWS::ECS::CapacityProvider")
    launch = provider["ManagedInstancesProvider"]["InstanceLaunchTemplate"]
    assert "AcceleratorTypes" not in launch["InstanceRequirements"]
    assert "LocalStorageConfiguration" not in launch


def test_on_one_machine_there_are_only_types_that_the_emulator_knows():
    made = template(Stage="local", Capacity="local", Image="lisa/model-cpu:local")
    assert {resource["Type"] for resource in made.resources.values()} == {
        "AWS::Logs::LogGroup",
        "AWS::ECS::TaskDefinition",
        "AWS::ECS::Service",
        "AWS::ElasticLoadBalancingV2::TargetGroup",
        "AWS::ElasticLoadBalancingV2::ListenerRule",
    }
    (service,) = made.of_type("AWS::ECS::Service")
    assert (service["DesiredCount"], service["LaunchType"]) == (1, "EC2")
    assert "CapacityProviderStrategy" not in service


def test_with_an_auto_scaling_group_the_model_has_a_cluster_of_its_own():
    made = template(Capacity="asg", InstanceType="g5.xlarge", Gpus="1", MaxInstances="3")
    (service,) = made.of_type("AWS::ECS::Service")
    (group,) = made.of_type("AWS::AutoScaling::AutoScalingGroup")
    (launch,) = made.of_type("AWS::EC2::LaunchTemplate")
    assert service["Cluster"] == "<ModelCluster>"
    assert made.outputs["ClusterName"] == "<ModelCluster>"
    assert (group["MinSize"], group["MaxSize"]) == ("0", "3")
    assert "/gpu/" in launch["LaunchTemplateData"]["ImageId"]
    assert launch["LaunchTemplateData"]["MetadataOptions"]["HttpTokens"] == "required"
    assert made.of_type("AWS::ECS::TaskDefinition")[0]["Volumes"][0]["Host"] == {
        "SourcePath": "/var/lib/lisa/weights"
    }


def test_the_start_script_of_an_instance_is_valid_shell():
    made = template(Capacity="asg")
    (launch,) = made.of_type("AWS::EC2::LaunchTemplate")
    script = launch["LaunchTemplateData"]["UserData"]
    assert "ECS_CLUSTER=<ModelCluster>" in script
    assert "${#disks[@]}" in script
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)


@pytest.mark.parametrize("capacity", ["managed", "asg"])
def test_on_aws_scaling_owns_the_number_of_tasks(capacity):
    made = template(Capacity=capacity, MinCapacity="0", MaxCapacity="4")
    (service,) = made.of_type("AWS::ECS::Service")
    (target,) = made.of_type("AWS::ApplicationAutoScaling::ScalableTarget")
    (policy,) = made.of_type("AWS::ApplicationAutoScaling::ScalingPolicy")
    assert "DesiredCount" not in service
    assert (target["MinCapacity"], target["MaxCapacity"]) == ("0", "4")
    metric = policy["TargetTrackingScalingPolicyConfiguration"]["PredefinedMetricSpecification"]
    assert metric["ResourceLabel"] == "app/lisa-models/1234abcd/<TargetGroup.TargetGroupFullName>"


def test_a_model_is_found_by_its_host_and_the_least_busy_task_answers():
    made = template(HealthPath="/ready", HealthInterval="20")
    (rule,) = made.of_type("AWS::ElasticLoadBalancingV2::ListenerRule")
    (group,) = made.of_type("AWS::ElasticLoadBalancingV2::TargetGroup")
    attributes = {item["Key"]: item["Value"] for item in group["TargetGroupAttributes"]}
    assert rule["Conditions"][0]["HostHeaderConfig"] == {"Values": ["abcdefghij27.models.internal"]}
    assert rule["Priority"] == "7"
    assert (group["HealthCheckPath"], group["HealthCheckIntervalSeconds"]) == ("/ready", "20")
    assert attributes["load_balancing.algorithm.type"] == "least_outstanding_requests"


def test_a_new_version_is_up_before_the_old_one_goes():
    (service,) = template().of_type("AWS::ECS::Service")
    deployment = service["DeploymentConfiguration"]
    assert (deployment["MinimumHealthyPercent"], deployment["MaximumPercent"]) == (100, 200)
    assert deployment["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}
    assert service["HealthCheckGracePeriodSeconds"] == "1800"


def test_the_container_has_no_more_rights_than_it_needs_and_its_log_never_blocks_it():
    only = container(template())
    assert only["Privileged"] is False
    assert only["LinuxParameters"]["Capabilities"] == {"Drop": ["ALL"]}
    assert only["LogConfiguration"]["Options"]["mode"] == "non-blocking"
    assert only["HealthCheck"]["Command"] == ["CMD", "lisa-model", "health"]


def test_everything_that_can_carry_tags_carries_the_models():
    for capacity in ("managed", "asg"):
        for name, resource in template(Capacity=capacity).resources.items():
            tags = resource["Properties"].get("Tags")
            if tags:
                assert {"lisa:deployment", "lisa:stage", "lisa:model"} <= {tag["Key"] for tag in tags}, name
