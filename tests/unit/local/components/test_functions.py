"""Functions have credentials nobody can guess and an environment of their own."""

from __future__ import annotations

import hashlib
import io
import sys
import zipfile
from collections.abc import Callable

import pytest
import requests
from botocore.exceptions import ClientError

from .conftest import Cloud, deploy, wait_for

TEMPLATE = f"""
Resources:
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Version: "2012-10-17"
        Statement: [{{Effect: Allow, Principal: {{Service: lambda.amazonaws.com}}, Action: sts:AssumeRole}}]
      Policies:
        - PolicyName: buckets
          PolicyDocument:
            Version: "2012-10-17"
            Statement: [{{Effect: Allow, Action: s3:ListAllMyBuckets, Resource: "*"}}]
  Function:
    Type: AWS::Lambda::Function
    Properties:
      FunctionName: looks-around
      Runtime: python{sys.version_info.major}.{sys.version_info.minor}
      Handler: index.handler
      Role: !GetAtt Role.Arn
      Timeout: 30
      Code: {{S3Bucket: code, S3Key: code.zip}}
  Url: {{Type: AWS::Lambda::Url, Properties: {{AuthType: NONE, TargetFunctionArn: !Ref Function}}}}
  Open:
    Type: AWS::Lambda::Permission
    Properties:
      Action: lambda:InvokeFunctionUrl
      FunctionName: !Ref Function
      FunctionUrlAuthType: NONE
      Principal: "*"
Outputs:
  Url: {{Value: !GetAtt Url.FunctionUrl}}
"""

CODE = """
import os, boto3, botocore.exceptions
def handler(event, context):
    print("called")
    asked = event.get("rawQueryString") or ""
    if asked.startswith("fail"):
        raise RuntimeError("asked to")
    if asked.startswith("die"):
        os._exit(1)
    buckets = [b["Name"] for b in boto3.client("s3").list_buckets()["Buckets"]]
    try:
        boto3.client("dynamodb").list_tables()
        tables = "allowed"
    except botocore.exceptions.ClientError as error:
        tables = error.response["Error"]["Code"]
    return {"env": dict(os.environ), "buckets": buckets, "tables": tables, "pid": os.getpid(),
            "who": boto3.client("sts").get_caller_identity()["Arn"]}
"""


@pytest.fixture
def invoke(new_cloud: Callable[..., Cloud]) -> Callable[[], dict]:
    cloud = new_cloud()
    cloud.start("engine")
    cloud.start("emulator", AWS_ACCESS_KEY_ID="callers", AWS_SECRET_ACCESS_KEY="secret", CALLERS="own")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("index.py", CODE)
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="code")
    s3.put_object(Bucket="code", Key="code.zip", Body=archive.getvalue())
    url = deploy(cloud, "functions", TEMPLATE)["Url"]
    identifier = url.split("//")[1].split(".")[0]

    def call() -> dict:
        answer = requests.get(f"{cloud.endpoint}/_aws/lambda-url/{identifier}/", timeout=40)
        assert answer.status_code == 200, answer.text
        return answer.json()

    call.url = f"{cloud.endpoint}/_aws/lambda-url/{identifier}/"  # type: ignore[attr-defined]
    call.cloud = cloud  # type: ignore[attr-defined]
    return call


def test_a_function_acts_as_its_role_and_sees_nothing_of_the_emulator(invoke) -> None:
    # When
    seen = invoke()
    # Then: its role's permissions, no others
    assert ":assumed-role/" in seen["who"]
    assert seen["buckets"] == ["code"]
    assert seen["tables"] == "AccessDeniedException"
    # and neither the caller's environment nor the emulator's
    assert seen["env"]["AWS_ENDPOINT_URL"] == invoke.cloud.endpoint
    assert seen["env"]["AWS_REGION"] == "us-east-1"
    assert "CALLERS" not in seen["env"]
    assert not {name for name in seen["env"] if name in ("STATE_DIR", "AUTH", "DOCKER_HOST", "S3_DATA_DIR")}
    assert seen["env"]["AWS_ACCESS_KEY_ID"] != "callers"


def test_a_functions_credentials_do_not_follow_from_its_arn(invoke) -> None:
    # Given: what the emulator would derive
    seen = invoke()
    function = "arn:aws:lambda:us-east-1:000000000000:function:looks-around"
    role = invoke.cloud.client("lambda").get_function(FunctionName="looks-around")["Configuration"]["Role"]
    digest = hashlib.sha256(f"{function}:{role}".encode()).hexdigest()
    guessed = invoke.cloud.client(
        "s3",
        aws_access_key_id=f"ASIA{digest[:16].upper()}",
        aws_secret_access_key=hashlib.sha256(f"secret:{digest}".encode()).hexdigest(),
        aws_session_token=hashlib.sha256(f"token:{digest}".encode()).hexdigest(),
    )
    # Then
    assert seen["env"]["AWS_ACCESS_KEY_ID"] != f"ASIA{digest[:16].upper()}"
    with pytest.raises(ClientError):
        guessed.list_buckets()


def test_an_exception_ends_the_call_and_not_the_worker(invoke) -> None:
    # Given a worker
    worker = invoke()["pid"]
    # When its handler raises
    assert requests.get(invoke.url + "?fail", timeout=40).status_code >= 500
    # Then the same worker answers the next call; one that has died is replaced
    assert invoke()["pid"] == worker
    assert requests.get(invoke.url + "?die", timeout=40).status_code >= 500
    assert invoke()["pid"] != worker


def test_workers_end_with_the_emulator_and_leave_no_files(invoke) -> None:
    # Given
    cloud = invoke.cloud
    pid = invoke()["pid"]
    temporary = cloud.home / "emulator" / "tmp"
    assert list(temporary.glob("ministack-lambda-*"))
    saved = cloud.home / "emulator" / "state" / "lambda.json"
    wait_for(lambda: "looks-around" in saved.read_text(), "a checkpoint")
    # When
    cloud.kill("emulator")
    # Then
    wait_for(lambda: not _alive(pid), "the worker to end with its emulator")
    cloud.start("emulator")
    assert not list(temporary.glob("ministack-lambda-*"))
    assert invoke()["buckets"] == ["code"]


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
