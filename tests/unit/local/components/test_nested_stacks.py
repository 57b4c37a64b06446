"""Nested stacks may use SAM's resource types, as on AWS."""

from __future__ import annotations

from collections.abc import Callable

from .conftest import Cloud, deploy

CHILD = """
Transform: AWS::Serverless-2016-10-31
Resources:
  Items:
    Type: AWS::Serverless::SimpleTable
Outputs:
  Table: {Value: !Ref Items}
"""

ROOT = """
Transform: AWS::Serverless-2016-10-31
Resources:
  Child:
    Type: AWS::Serverless::Application
    Properties: {{Location: {url}}}
Outputs:
  Table: {{Value: !GetAtt Child.Outputs.Table}}
"""


def test_a_nested_stack_is_expanded_as_the_root_is(new_cloud: Callable[..., Cloud]) -> None:
    # Given
    cloud = new_cloud()
    cloud.start("engine")
    cloud.start("emulator")
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="templates")
    s3.put_object(Bucket="templates", Key="child.yaml", Body=CHILD)

    # When
    outputs = deploy(cloud, "parent", ROOT.format(url=f"{cloud.endpoint}/templates/child.yaml"))

    # Then
    described = cloud.client("dynamodb").describe_table(TableName=outputs["Table"])["Table"]
    assert [key["AttributeName"] for key in described["KeySchema"]] == ["id"]
