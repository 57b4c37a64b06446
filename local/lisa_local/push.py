"""`lisa models push`: weights from a folder into the weights bucket, of the local cloud or on AWS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from lisa_local import weights
from lisa_local.cloud import LocalCloud
from lisa_local.console import Problem, megabytes
from lisa_local.home import Home


def push(folder: Path, name: str, *, stack: str | None, region: str | None) -> None:
    """Upload what changed, and say where it lies.

    Raises:
        Problem: the folder, the stack or the bucket cannot be used.
    """
    files = weights.files_of(folder, name)
    client, bucket = _on_aws(stack, region) if stack else _local()
    result = weights.push(client, bucket, files, say=lambda line: print(f"  {line}", flush=True))
    print(
        f"s3://{bucket}/{weights.prefix_of(name)}: "
        f"{result.uploaded} files uploaded ({megabytes(result.bytes)}), "
        f"{result.unchanged} unchanged."
    )


def _local() -> tuple[Any, str]:
    cloud = LocalCloud(Home.locate())
    return cloud.client("s3"), cloud.output("WeightsBucket")


def _on_aws(stack: str, region: str | None) -> tuple[Any, str]:
    try:
        session: Any = boto3.Session(region_name=region)
        described = session.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    except (BotoCoreError, ClientError) as error:
        raise Problem(
            f"The stack {stack} cannot be read: {error}. Check your credentials, --region and the name."
        ) from error
    outputs = {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}
    if "WeightsBucket" not in outputs:
        raise Problem(f"The stack {stack} has no output WeightsBucket: name the root stack of LISA.")
    return session.client("s3"), outputs["WeightsBucket"]
