"""State machines may be written in YAML, as on AWS."""

from __future__ import annotations

import json
from collections.abc import Callable

from .conftest import Cloud, deploy

MACHINE = """
# what it is for
StartAt: Greet
States:
  Greet:
    Type: Pass
    Result: {greeting: "${Greeting}"}
    End: true
"""

STACK = """
Resources:
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Version: "2012-10-17"
        Statement: [{{Effect: Allow, Principal: {{Service: states.amazonaws.com}}, Action: "sts:AssumeRole"}}]
  Machine:
    Type: AWS::StepFunctions::StateMachine
    Properties:
      RoleArn: !GetAtt Role.Arn
      DefinitionS3Location: {{Bucket: {bucket}, Key: machine.asl.yaml}}
      DefinitionSubstitutions: {{Greeting: hello}}
Outputs:
  Machine: {{Value: !Ref Machine}}
"""


def test_a_state_machine_in_yaml_runs(new_cloud: Callable[..., Cloud]) -> None:
    # Given
    cloud = new_cloud()
    cloud.start("engine")
    cloud.start("emulator")
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="machines")
    s3.put_object(Bucket="machines", Key="machine.asl.yaml", Body=MACHINE)
    machine = deploy(cloud, "machines", STACK.format(bucket="machines"))["Machine"]

    # When
    states = cloud.client("stepfunctions")
    definition = states.describe_state_machine(stateMachineArn=machine)["definition"]

    # Then
    assert json.loads(definition)["States"]["Greet"]["Result"] == {"greeting": "hello"}
