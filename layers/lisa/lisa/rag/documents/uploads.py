"""Files that people upload: a signed form for exactly one key, and from there into the drop folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from botocore.exceptions import ClientError

from lisa.errors import InvalidRequest, NotFound, PayloadTooLarge
from lisa.rag.documents import naming

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

FORM_SECONDS = 3600
LINK_SECONDS = 300
# The metadata of an upload that names its user; S3 keeps ASCII only.
USER_FIELD = "x-amz-meta-user"


@dataclass(frozen=True, slots=True)
class Form:
    """Where a file is posted as multipart/form-data, and the fields that come before it."""

    url: str
    fields: Mapping[str, str]


class Uploads:
    """`client` is a low-level S3 client; `max_bytes` is the longest file that is taken."""

    def __init__(self, bucket: str, client: "S3Client", *, max_bytes: int) -> None:
        self.bucket = bucket
        self._client = client
        self._max_bytes = max_bytes

    def form(self, user: str, name: str) -> Form:
        """Good for one hour and for one key, `_uploads/<user>/<uuid>/<name>`. Raises InvalidRequest for the name."""
        tag = naming.user_folder(user)
        answer: Any = self._client.generate_presigned_post(
            self.bucket,
            naming.upload_key(user, name),
            Fields={USER_FIELD: tag},
            Conditions=[{USER_FIELD: tag}, ["content-length-range", 0, self._max_bytes]],
            ExpiresIn=FORM_SECONDS,
        )
        return Form(answer["url"], answer["fields"])

    def check(self, user: str, key: str) -> int:
        """The size in bytes of a user's upload. Raises NotFound naming the key when they have uploaded no such file."""
        if key.startswith((naming.upload_folder(user), naming.files_folder(user))):
            try:
                size = self._client.head_object(Bucket=self.bucket, Key=key)["ContentLength"]
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] not in (403, 404):
                    raise
            else:
                if size > self._max_bytes:
                    raise PayloadTooLarge(
                        f"{naming.name_of(key)} has {size:,} bytes; {self._max_bytes:,} are taken at most.",
                        field="keys",
                    )
                return size
        raise NotFound(
            f"You have uploaded no file with the key {key[:200]!r}: ask for an upload form, send the file, and use its "
            "key.",
            code="upload_not_found",
            field="keys",
        )

    def copy(self, key: str, target: str) -> None:
        """Raises InvalidRequest when the upload has gone meanwhile."""
        try:
            self._client.copy_object(
                Bucket=self.bucket, Key=target, CopySource={"Bucket": self.bucket, "Key": key}
            )
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("NoSuchKey", "404"):
                raise
            raise InvalidRequest(
                f"The upload {key[:200]!r} is gone: upload it again.", field="keys"
            ) from error

    def put(self, target: str, body: bytes, media_type: str) -> None:
        """A file that has come through us rather than by a form."""
        self._client.put_object(Bucket=self.bucket, Key=target, Body=body, ContentType=media_type)

    def link(self, bucket: str, key: str, name: str) -> str:
        """A URL by which an object can be downloaded under this name, good for five minutes."""
        quoted = quote(name, safe="")
        return str(
            self._client.generate_presigned_url(
                "get_object",
                Params={
                    "Bucket": bucket,
                    "Key": key,
                    "ResponseContentDisposition": f"attachment; filename*=UTF-8''{quoted}",
                    # Nothing of a user's is run in the bucket's origin, whatever it says that it is.
                    "ResponseContentType": "application/octet-stream",
                },
                ExpiresIn=LINK_SECONDS,
            )
        )

    def is_there(self, bucket: str, key: str) -> bool:
        try:
            self._client.head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                raise
            return False
        return True

    def delete(self, key: str) -> None:
        """One that is not there is no error."""
        self._client.delete_object(Bucket=self.bucket, Key=key)

    def delete_version(self, key: str, etag: str) -> None:
        """Removes an object of the drop folder, unless it is another one by now; one that is gone is no error."""
        try:
            found = self._client.head_object(Bucket=self.bucket, Key=key)["ETag"].strip('"')
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                raise
        else:
            if not etag or found == etag:
                self._client.delete_object(Bucket=self.bucket, Key=key)
