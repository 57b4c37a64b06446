"""A table's stream reaches its function before and after a restart of the emulator."""

from __future__ import annotations

import sys
from collections.abc import Callable

from .conftest import Cloud, deploy, wait_for

RUNTIME = f"python{sys.version_info[0]}.{sys.version_info[1]}"

TEMPLATE = """
Transform: AWS::Serverless-2016-10-31
Globals:
  Function: {Runtime: RUNTIME, Handler: index.handler, Timeout: 30}
Resources:
  Items:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{AttributeName: id, AttributeType: S}]
      KeySchema: [{AttributeName: id, KeyType: HASH}]
      StreamSpecification: {StreamViewType: NEW_IMAGE}
  Written: {Type: AWS::S3::Bucket}
  Seen: {Type: AWS::S3::Bucket}
  Write:
    Type: AWS::Serverless::Function
    Properties:
      InlineCode: |
        import os, boto3
        def handler(event, context):
            print("objects", len(event["Records"]))
            for record in event["Records"]:
                item = {"id": {"S": record["s3"]["object"]["key"]}}
                boto3.client("dynamodb").put_item(TableName=os.environ["TABLE"], Item=item)
      Environment: {Variables: {TABLE: !Ref Items}}
      Policies: [{Statement: [{Effect: Allow, Action: "dynamodb:PutItem", Resource: !GetAtt Items.Arn}]}]
      Events:
        Object: {Type: S3, Properties: {Bucket: !Ref Written, Events: "s3:ObjectCreated:*"}}
  Read:
    Type: AWS::Serverless::Function
    Properties:
      InlineCode: |
        import os, boto3
        def handler(event, context):
            print("records", len(event["Records"]))
            for record in event["Records"]:
                key = record["dynamodb"]["Keys"]["id"]["S"]
                boto3.client("s3").put_object(Bucket=os.environ["BUCKET"], Key=key)
      Environment: {Variables: {BUCKET: !Ref Seen}}
      Policies: [{Statement: [{Effect: Allow, Action: "s3:PutObject", Resource: !Sub "${Seen.Arn}/*"}]}]
      Events:
        Stream:
          Type: DynamoDB
          Properties: {Stream: !GetAtt Items.StreamArn, StartingPosition: LATEST, BatchSize: 10}
Outputs:
  Written: {Value: !Ref Written}
  Seen: {Value: !Ref Seen}
"""


def test_a_stream_is_read_on_after_a_restart(new_cloud: Callable[..., Cloud]) -> None:
    # Given a function that has read some records
    cloud = new_cloud()
    cloud.start("engine")
    cloud.start("emulator")
    outputs = deploy(cloud, "streams", TEMPLATE.replace("RUNTIME", RUNTIME))

    def put(name: str) -> None:
        cloud.client("s3").put_object(Bucket=outputs["Written"], Key=name)

    def seen() -> set[str]:
        listed = cloud.client("s3").list_objects_v2(Bucket=outputs["Seen"])
        return {item["Key"] for item in listed.get("Contents", [])}

    for number in range(3):
        put(f"before-{number}")
    wait_for(lambda: len(seen()) == 3, "the records before the restart", 30)

    # When
    cloud.stop("emulator")
    cloud.start("emulator")
    put("after")

    # Then
    wait_for(lambda: "after" in seen(), "the record after the restart", 30)
