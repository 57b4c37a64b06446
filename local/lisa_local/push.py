"""Files into the buckets of the local cloud or of a stack on AWS: a model's weights, and documents to be searched."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import boto3
from boto3.exceptions import S3UploadFailedError
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
    client, bucket = _bucket("WeightsBucket", stack, region)
    result = weights.push(client, bucket, files, say=lambda line: print(f"  {line}", flush=True))
    print(
        f"s3://{bucket}/{weights.prefix_of(name)}: "
        f"{result.uploaded} files uploaded ({megabytes(result.bytes)}), "
        f"{result.unchanged} unchanged."
    )


def push_documents(
    files: list[Path], repository: str, collection: str, *, stack: str | None, region: str | None
) -> None:
    """Drop files into a collection's folder, and say where they lie. A folder's files keep their paths.

    Raises:
        Problem: a file is missing, or the stack or the bucket cannot be used.
    """
    found = [(file, name) for path in files for file, name in _named(path)]
    client, bucket = _bucket("DocumentsBucket", stack, region)
    folder = f"{repository}/{quote(collection, safe='')}/" if collection else f"{repository}/"
    if not collection and any("/" in name for _, name in found):
        raise Problem("Name a --collection for a folder with folders in it.")
    for file, name in found:
        try:
            client.upload_file(str(file), bucket, folder + name)
        except (BotoCoreError, ClientError, S3UploadFailedError) as error:
            raise Problem(f"{file} could not be uploaded: {error}") from error
        print(f"  s3://{bucket}/{folder}{name}", flush=True)
    print(f"{len(found)} files dropped; they are searched once they are ingested.")


def _named(path: Path) -> list[tuple[Path, str]]:
    if path.is_file():
        return [(path, path.name)]
    files = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
    if not files:
        raise Problem(f"{path} is no file, and no folder with files in it.")
    return [(file, file.relative_to(path).as_posix()) for file in files]


def _bucket(output: str, stack: str | None, region: str | None) -> tuple[Any, str]:
    """A client, and the name of the bucket that the root stack has this output for."""
    if stack is None:
        cloud = LocalCloud(Home.locate())
        return cloud.client("s3"), cloud.output(output)
    try:
        session: Any = boto3.Session(region_name=region)
        described = session.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    except (BotoCoreError, ClientError) as error:
        raise Problem(
            f"The stack {stack} cannot be read: {error}. Check your credentials, --region and the name."
        ) from error
    outputs = {each["OutputKey"]: each["OutputValue"] for each in described.get("Outputs", [])}
    if output not in outputs:
        raise Problem(f"The stack {stack} has no output {output}: name the root stack of LISA.")
    return session.client("s3"), outputs[output]
