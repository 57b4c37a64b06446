"""Nested stacks may use SAM's resource types, and can be updated, as on AWS."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .conftest import Cloud, deploy

CHILD = """
Transform: AWS::Serverless-2016-10-31
Resources:
  Items:
    Type: AWS::Serverless::SimpleTable
  Parameter:
    Type: AWS::SSM::Parameter
    Properties: {Type: String, Value: first}
Outputs:
  Table: {Value: !Ref Items}
  TableArn: {Value: !GetAtt Items.Arn}
"""

ROOT = """
Transform: AWS::Serverless-2016-10-31
Resources:
  Child:
    Type: AWS::Serverless::Application
    Properties: {{Location: {url}}}
Outputs:
  Table: {{Value: !GetAtt Child.Outputs.Table}}
  TableArn: {{Value: !GetAtt Child.Outputs.TableArn}}
"""


@pytest.fixture
def cloud(new_cloud: Callable[..., Cloud]) -> Cloud:
    made = new_cloud()
    made.start("engine")
    made.start("emulator")
    made.client("s3").create_bucket(Bucket="templates")
    return made


def deploy_with(cloud: Cloud, child: str, key: str) -> dict[str, str]:
    cloud.client("s3").put_object(Bucket="templates", Key=key, Body=child)
    return deploy(cloud, "parent", ROOT.format(url=f"{cloud.endpoint}/templates/{key}"))


def test_a_nested_stack_is_expanded_as_the_root_is(cloud: Cloud) -> None:
    # When
    outputs = deploy_with(cloud, CHILD, "child.yaml")

    # Then
    described = cloud.client("dynamodb").describe_table(TableName=outputs["Table"])["Table"]
    assert [key["AttributeName"] for key in described["KeySchema"]] == ["id"]


def test_an_update_of_a_nested_stack_knows_what_has_not_changed(cloud: Cloud) -> None:
    # Given
    before = deploy_with(cloud, CHILD, "child.yaml")

    # When one resource of two changes
    after = deploy_with(cloud, CHILD.replace("first", "second"), "changed.yaml")

    # Then
    assert after == before
    assert after["TableArn"].endswith(f"table/{after['Table']}")
