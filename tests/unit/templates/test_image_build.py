"""The custom resource that builds images: CloudFormation always gets one answer."""

from __future__ import annotations

import base64
import importlib
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.unit.templates.application import ROOT

REPOSITORY = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/lisa/gateway"
SOURCE = "arn:aws:lambda:eu-west-1:123456789012:layer:lisa-gateway-source:3"
TAG = "arm64-" + bytes(range(32)).hex()[:40]
DIGEST = "sha256:" + "1" * 64


class Context:
    function_name = "image_build"
    memory_limit_in_mb = 256
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:image_build"
    aws_request_id = "request"


class CloudFormation:
    """Takes answers where a presigned URL would."""

    def __init__(self) -> None:
        self.answers: list[dict[str, Any]] = []
        self.content_types: list[str | None] = []
        taking = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                taking.answers.append(json.loads(body))
                taking.content_types.append(self.headers["Content-Type"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/answer?signature=x"


class Aws:
    """ECR, CodeBuild, Lambda and SSM as far as the function knows them."""

    def __init__(self) -> None:
        self.images: dict[str, str] = {}
        self.builds: list[dict[str, Any]] = []
        self.parameters: dict[str, str] = {}
        self.refusal: str | None = None
        self.exceptions = self

    class ImageNotFoundException(Exception):
        pass

    class ParameterNotFound(Exception):
        pass

    def get_layer_version_by_arn(self, *, Arn: str) -> dict[str, Any]:
        assert Arn == SOURCE
        return {"Content": {"CodeSha256": base64.b64encode(bytes(range(32))).decode()}}

    def describe_images(self, *, repositoryName: str, imageIds: list[dict[str, str]]) -> dict[str, Any]:
        assert repositoryName == "lisa/gateway"
        if imageIds[0]["imageTag"] not in self.images:
            raise self.ImageNotFoundException
        return {"imageDetails": [{"imageDigest": self.images[imageIds[0]["imageTag"]]}]}

    def start_build(self, **build: Any) -> None:
        if self.refusal:
            raise ClientError({"Error": {"Code": self.refusal, "Message": "no"}}, "StartBuild")
        self.builds.append(build)

    def put_parameter(self, *, Name: str, Value: str, Type: str, Overwrite: bool) -> None:
        assert Type == "SecureString"
        assert Overwrite
        self.parameters[Name] = Value

    def get_parameter(self, *, Name: str, WithDecryption: bool) -> dict[str, Any]:
        assert WithDecryption
        if Name not in self.parameters:
            raise self.ParameterNotFound
        return {"Parameter": {"Value": self.parameters[Name]}}

    def delete_parameter(self, *, Name: str) -> None:
        del self.parameters[Name]


@pytest.fixture
def cloudformation() -> Iterator[CloudFormation]:
    server = CloudFormation()
    yield server
    server.server.shutdown()
    server.server.server_close()


@pytest.fixture
def aws() -> Aws:
    return Aws()


@pytest.fixture
def handler(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("LISA_DEPLOYMENT", "lisa")
    monkeypatch.setenv("POWERTOOLS_TRACE_DISABLED", "true")
    monkeypatch.setattr(boto3, "client", lambda _: aws)
    monkeypatch.syspath_prepend(str(ROOT / "functions/image_build"))
    names = ("app", "images", "cloudformation")
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module("app").handler
    for name in names:
        sys.modules.pop(name, None)


def request(cloudformation: CloudFormation, kind: str = "Create") -> dict[str, Any]:
    return {
        "RequestType": kind,
        "ResponseURL": cloudformation.url,
        "StackId": "arn:aws:cloudformation:eu-west-1:123456789012:stack/lisa-Images/1",
        "RequestId": "b5f0",
        "LogicalResourceId": "GatewayImage",
        "ResourceProperties": {
            "Project": "lisa-images",
            "Repository": REPOSITORY,
            "Source": SOURCE,
            "Dockerfile": "containers/litellm/Dockerfile",
            "Architecture": "arm64",
        },
    }


def build_ended(aws: Aws, status: str) -> dict[str, Any]:
    return {
        "detail": {
            "build-status": status,
            "build-id": "arn:aws:codebuild:eu-west-1:123456789012:build/lisa-images:1",
            "additional-information": {
                "environment": {"environment-variables": aws.builds[0]["environmentVariablesOverride"]},
                "logs": {"deep-link": "https://console.example.com/log"},
            },
        }
    }


def test_a_create_starts_a_build_and_does_not_answer_yet(handler, aws, cloudformation) -> None:
    handler(request(cloudformation), Context())

    assert cloudformation.answers == []
    (build,) = aws.builds
    assert build["projectName"] == "lisa-images"
    assert build["idempotencyToken"] == "b5f0"
    variables = {each["name"]: each["value"] for each in build["environmentVariablesOverride"]}
    assert variables["TAG"] == TAG
    # Who may see builds must not be able to answer in their name.
    assert cloudformation.url not in json.dumps(build)


def test_the_answer_comes_with_the_digest_when_the_build_has_ended(handler, aws, cloudformation) -> None:
    # Given
    handler(request(cloudformation), Context())
    aws.images[TAG] = DIGEST

    # When
    handler(build_ended(aws, "SUCCEEDED"), Context())

    # Then
    (answer,) = cloudformation.answers
    assert answer["Status"] == "SUCCESS"
    assert answer["Data"] == {"Image": f"{REPOSITORY}@{DIGEST}"}
    assert answer["RequestId"] == "b5f0"
    assert cloudformation.content_types == [""]
    assert aws.parameters == {}


@pytest.mark.parametrize("status", ["FAILED", "STOPPED", "TIMED_OUT", "FAULT"])
def test_a_build_that_fails_fails_the_deploy_and_names_its_log(handler, aws, cloudformation, status) -> None:
    handler(request(cloudformation), Context())
    handler(build_ended(aws, status), Context())

    (answer,) = cloudformation.answers
    assert answer["Status"] == "FAILED"
    assert status in answer["Reason"]
    assert "https://console.example.com/log" in answer["Reason"]


def test_the_same_event_twice_is_answered_once(handler, aws, cloudformation) -> None:
    handler(request(cloudformation), Context())
    aws.images[TAG] = DIGEST
    event = build_ended(aws, "SUCCEEDED")
    handler(event, Context())
    handler(event, Context())

    assert len(cloudformation.answers) == 1


def test_an_image_that_exists_is_not_built_again(handler, aws, cloudformation) -> None:
    aws.images[TAG] = DIGEST
    handler(request(cloudformation, "Update"), Context())

    assert aws.builds == []
    assert cloudformation.answers[0]["Data"] == {"Image": f"{REPOSITORY}@{DIGEST}"}


def test_a_build_that_cannot_start_fails_the_deploy_at_once(handler, aws, cloudformation) -> None:
    aws.refusal = "AccountLimitExceededException"
    handler(request(cloudformation), Context())

    (answer,) = cloudformation.answers
    assert answer["Status"] == "FAILED"
    assert "AccountLimitExceededException" in answer["Reason"]


def test_a_delete_is_answered_at_once(handler, aws, cloudformation) -> None:
    handler(request(cloudformation, "Delete"), Context())

    assert cloudformation.answers[0]["Status"] == "SUCCESS"
    assert aws.builds == []


def test_a_build_that_somebody_started_by_hand_is_nobodys(handler, aws, cloudformation) -> None:
    handler(request(cloudformation), Context())
    event = build_ended(aws, "SUCCEEDED")
    event["detail"]["additional-information"]["environment"]["environment-variables"] = []
    handler(event, Context())

    assert cloudformation.answers == []
