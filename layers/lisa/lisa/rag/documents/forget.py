"""Forgetting what a collection or a repository had, once it is being deleted. Page by page, and again after failure."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from lisa import dynamo
from lisa.rag.documents import rows
from lisa.rag.documents.stores import Stores

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_s3 import S3Client

_MOST_OBJECTS = 1000


class Forgetter:
    """`client` and `s3` are low-level clients; `drop_bucket` holds the drop folder, whose files go too."""

    def __init__(
        self, table_name: str, client: "DynamoDBClient", stores: Stores, s3: "S3Client", drop_bucket: str
    ) -> None:
        self._table = table_name
        self._client = client
        self._stores = stores
        self._s3 = s3
        self._drop_bucket = drop_bucket

    def forget_collection(self, repository_id: str, collection_id: str, limit: int = 250) -> bool:
        """Removes rows and dropped files of so many documents; True when none is left. Chunks are the store's.

        Files that came by a pipeline stay where they are.
        """
        states, _ = self._stores.objects.of_collection(repository_id, collection_id, limit=limit)
        if not states:
            self._stores.documents.forget_collection(repository_id, collection_id)
            return True
        dropped = [state.key for state in states if state.bucket == self._drop_bucket and not state.pipeline]
        self._delete_files(dropped)
        for key in (rows.document_key, rows.object_key):  # an object's row is what its document is found by
            self._delete_rows(key(state.document_id) for state in states)
        return False

    def forget_repository(self, repository_id: str, limit: int = 1000) -> bool:
        """Removes so many jobs of a repository whose collections are forgotten; True when none is left."""
        jobs, _ = self._stores.jobs.of_repository(repository_id, owner=None, since=0, limit=limit, after=None)
        self._delete_rows(rows.job_key(job.id) for job in jobs)
        return not jobs

    def _delete_files(self, keys: list[str]) -> None:
        for start in range(0, len(keys), _MOST_OBJECTS):
            objects: Any = [{"Key": key} for key in keys[start : start + _MOST_OBJECTS]]
            self._s3.delete_objects(Bucket=self._drop_bucket, Delete={"Objects": objects, "Quiet": True})

    def _delete_rows(self, keys: Iterable[Any]) -> None:
        dynamo.batch_delete(self._client, self._table, keys)
