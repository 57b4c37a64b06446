"""Workers of functions share their layers' files."""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Callable

import requests

from .conftest import Cloud, deploy

RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"
FUNCTION = """
  {name}:
    Type: AWS::Lambda::Function
    Properties:
      FunctionName: {name}
      Runtime: {runtime}
      Handler: index.handler
      Role: !GetAtt Role.Arn
      Layers: [!Ref Layer]
      Code: {{S3Bucket: code, S3Key: code.zip}}
  {name}Url: {{Type: AWS::Lambda::Url, Properties: {{AuthType: NONE, TargetFunctionArn: !Ref {name}}}}}
  {name}Open:
    Type: AWS::Lambda::Permission
    Properties:
      Action: lambda:InvokeFunctionUrl
      FunctionName: !Ref {name}
      FunctionUrlAuthType: NONE
      Principal: "*"
"""
TEMPLATE = f"""
Resources:
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Version: "2012-10-17"
        Statement: [{{Effect: Allow, Principal: {{Service: lambda.amazonaws.com}}, Action: sts:AssumeRole}}]
  Layer:
    Type: AWS::Lambda::LayerVersion
    Properties:
      LayerName: shared
      Content: {{S3Bucket: code, S3Key: layer.zip}}
{FUNCTION.format(name="first", runtime=RUNTIME)}
{FUNCTION.format(name="second", runtime=RUNTIME)}
Outputs:
  first: {{Value: !GetAtt firstUrl.FunctionUrl}}
  second: {{Value: !GetAtt secondUrl.FunctionUrl}}
"""
CODE = """
import os, layered
def handler(event, context):
    print("called")
    return {"pid": os.getpid(), "file": os.path.realpath(layered.__file__), "value": layered.VALUE}
"""


def archive(name: str, text: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(name, text)
    return buffer.getvalue()


def test_two_functions_read_one_copy_of_their_layer(new_cloud: Callable[..., Cloud]) -> None:
    # Given
    cloud = new_cloud()
    cloud.start("engine")
    cloud.start("emulator")
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="code")
    s3.put_object(Bucket="code", Key="code.zip", Body=archive("index.py", CODE))
    s3.put_object(Bucket="code", Key="layer.zip", Body=archive("python/layered.py", "VALUE = 42"))
    urls = deploy(cloud, "layers", TEMPLATE)

    def call(name: str) -> dict:
        identifier = urls[name].split("//")[1].split(".")[0]
        host = {"Host": f"{identifier}.lambda-url.us-east-1.localhost"}
        return requests.post(cloud.endpoint, headers=host, json={}, timeout=30).json()

    # When
    answers = [call("first"), call("second")]

    # Then
    assert [answer["value"] for answer in answers] == [42, 42]
    assert answers[0]["pid"] != answers[1]["pid"]
    assert answers[0]["file"] == answers[1]["file"]
    assert str(cloud.home) in answers[0]["file"]
