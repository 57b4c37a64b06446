"""Images and their builds: ECR and CodeBuild, and the requests that wait for a build."""

from __future__ import annotations

import base64
from typing import Any

from cloudformation import Request


class Builder:
    """Tags an image with the hash of what it is built from, so that nothing is built twice."""

    def __init__(self, *, deployment: str, codebuild: Any, ecr: Any, lambda_: Any, ssm: Any) -> None:
        self._deployment = deployment
        self._codebuild = codebuild
        self._ecr = ecr
        self._lambda = lambda_
        self._ssm = ssm

    def find(self, request: Request) -> str | None:
        """The image by digest, if it has been built."""
        try:
            images = self._ecr.describe_images(
                repositoryName=request.repository.split("/", 1)[1],
                imageIds=[{"imageTag": self._tag(request)}],
            )
        except self._ecr.exceptions.ImageNotFoundException:
            return None
        return f"{request.repository}@{images['imageDetails'][0]['imageDigest']}"

    def start(self, request: Request) -> None:
        """Start the build and keep the request until it ends."""
        # Kept first: a build may end before this function does.
        self._ssm.put_parameter(
            Name=self._parameter(request.request_id),
            Type="SecureString",
            Value=request.to_json(),
            Overwrite=True,
        )
        variables = {
            "SOURCE": request.source,
            "REPOSITORY": request.repository,
            "TAG": self._tag(request),
            "DOCKERFILE": request.dockerfile,
            "REQUEST": request.request_id,
        }
        self._codebuild.start_build(
            projectName=request.project,
            # The same request delivered twice starts one build.
            idempotencyToken=request.request_id,
            environmentVariablesOverride=[
                {"name": name, "value": value, "type": "PLAINTEXT"} for name, value in variables.items()
            ],
        )

    def waiting(self, request_id: str) -> Request | None:
        """The request that waits for a build; None if it has been answered."""
        try:
            found = self._ssm.get_parameter(Name=self._parameter(request_id), WithDecryption=True)
        except self._ssm.exceptions.ParameterNotFound:
            return None
        return Request.from_json(found["Parameter"]["Value"])

    def forget(self, request: Request) -> None:
        self._ssm.delete_parameter(Name=self._parameter(request.request_id))

    def _parameter(self, request_id: str) -> str:
        return f"/{self._deployment}/image-builds/{request_id}"

    def _tag(self, request: Request) -> str:
        layer = self._lambda.get_layer_version_by_arn(Arn=request.source)
        digest = base64.b64decode(layer["Content"]["CodeSha256"]).hex()
        return f"{request.architecture}-{digest[:40]}"
