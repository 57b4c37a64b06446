"""Weights in S3: one folder of the bucket for each model name."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


class Weights:
    def __init__(self, bucket: str, client: "S3Client") -> None:
        self._bucket = bucket
        self._client = client

    def uri(self, model_name: str) -> str:
        return f"s3://{self._bucket}/{model_name}/"

    def missing(self, model_name: str) -> str | None:
        """Why the model cannot be hosted, or None when there is at least one object."""
        answer = self._client.list_objects_v2(Bucket=self._bucket, Prefix=f"{model_name}/", MaxKeys=1)
        if answer.get("KeyCount"):
            return None
        return (
            f"There are no weights at {self.uri(model_name)}: put them there with "
            f"`lisa models push DIR --name {model_name}`, delete this model, and create it again."
        )
