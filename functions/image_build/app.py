"""Custom resource `Custom::Image`: builds an image with CodeBuild and answers CloudFormation when that ends.

Two events come here: CloudFormation's request, which starts the build, and CodeBuild's state change, which
ends the wait. Nothing waits in between.
"""

from __future__ import annotations

import os
from typing import Any

import boto3
from aws_lambda_powertools import Logger, Tracer
from aws_lambda_powertools.utilities.typing import LambdaContext
from cloudformation import Request, answer
from images import Builder

logger = Logger()
tracer = Tracer()

builder = Builder(
    deployment=os.environ["LISA_DEPLOYMENT"],
    codebuild=boto3.client("codebuild"),
    ecr=boto3.client("ecr"),
    lambda_=boto3.client("lambda"),
    ssm=boto3.client("ssm"),
)


@logger.inject_lambda_context
@tracer.capture_lambda_handler
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    if "RequestType" in event:
        _on_request(Request.from_event(event))
    else:
        _on_build_ended(event["detail"])


def _on_request(request: Request) -> None:
    """Start the build, or answer at once when there is nothing to build."""
    logger.info("request", request_type=request.kind, image=request.physical_id)
    if request.kind == "Delete":
        # The repository goes with its images, and an image may still be wanted for going back.
        answer(request)
        return
    try:
        image = builder.find(request) or builder.start(request)
    except Exception as error:  # CloudFormation would wait an hour for an answer that never comes
        logger.exception("the build could not be started")
        answer(request, failure=f"The build of {request.physical_id} could not be started: {error}")
        return
    if image is not None:
        answer(request, data={"Image": image})


def _on_build_ended(detail: dict[str, Any]) -> None:
    variables = {
        variable["name"]: variable["value"]
        for variable in detail["additional-information"]["environment"]["environment-variables"]
    }
    request = builder.waiting(variables.get("REQUEST", ""))
    if request is None:
        logger.info("nobody waits for this build", build=detail["build-id"])
        return
    status = detail["build-status"]
    logger.info("build ended", build=detail["build-id"], status=status)
    image = builder.find(request) if status == "SUCCEEDED" else None
    if image is None:
        logs = detail["additional-information"].get("logs", {}).get("deep-link", "CodeBuild's log")
        answer(request, failure=f"The build of {request.physical_id} ended {status}: see {logs}")
    else:
        answer(request, data={"Image": image})
    builder.forget(request)
