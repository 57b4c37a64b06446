"""A repository with its documents, as tests of ingestion see it: files in a bucket, rows in a table."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lisa import dynamo
from lisa.rag.documents import naming, rows
from lisa.rag.documents.stores import Stores
from lisa.rag.records import Job, JobStatus

from tests.cloud import TestCloud, eventually, function

MODEL = "all-minilm-l6-v2"
ENDED = {JobStatus.INGESTION_COMPLETED, JobStatus.INGESTION_FAILED}


@dataclass
class Library:
    """A repository of its own with one collection, its bucket and its rows."""

    cloud: TestCloud
    id: str
    collection: str
    bucket: str
    stores: Stores
    dynamodb: Any
    table: str
    s3: Any

    def put(self, path: str, text: str, *, bucket: str = "") -> str:
        key = path if bucket else f"{self.id}/{self.collection}/{path}"
        self.s3.put_object(
            Bucket=bucket or self.bucket, Key=key, Body=text.encode(), ContentType="text/plain"
        )
        return key

    def at_rest(self) -> None:
        """Waits until nothing changes the repository."""
        place = f"/api/repository/{self.id}"
        eventually(
            "the repository at rest",
            lambda: self.cloud.call("GET", place).body["status"].endswith("_COMPLETE"),
            within=60,
        )

    def bring_in(self, bucket: str, **how: str) -> str:
        """A pipeline from `in/` of a bucket, in the place of any other; the name that its documents' ids hold."""
        pipeline = {"s3Bucket": bucket, "s3Prefix": "in/", "collectionId": MODEL, "autoRemove": True, **how}
        self.at_rest()
        changed = self.cloud.call("PUT", f"/api/repository/{self.id}", body={"pipelines": [pipeline]})
        assert changed.status == 200, changed.body
        (found,) = changed.body["pipelines"]
        return f"{self.id}/{found['pipelineId']}"

    def document(self, key: str, pipeline: str = "", bucket: str = "") -> Any:
        found = self.dynamodb.get_item(
            TableName=self.table,
            Key=rows.document_key(naming.document_id(bucket or self.bucket, key, pipeline)),
            ConsistentRead=True,
        ).get("Item")
        return rows.document_of(dynamo.from_item(found)) if found else None

    def jobs(self) -> list[Job]:
        return self.stores.jobs.of_repository(self.id, owner=None, since=0, limit=None, after=None)[0]

    def ended(self, key: str) -> Job | None:
        """The job of a dropped file, once it has ended."""
        document_id = naming.document_id(self.bucket, key)
        found = [job for job in self.jobs() if job.document_id == document_id and job.status in ENDED]
        return found[0] if found else None

    def open(self) -> list[str]:
        return [each.key for each in self.stores.objects.open_since(1 << 60) if each.repository_id == self.id]

    def count(self) -> Any:
        return self.stores.documents.count(self.id, self.collection)


@contextmanager
def made(cloud: TestCloud) -> Iterator[Library]:
    """A repository with its default collection, which is removed at the end."""
    environment = function(cloud, "DocumentCheck")["Environment"]["Variables"]
    client = cloud.session.client("dynamodb")
    repository_id = f"it-{uuid.uuid4().hex[:8]}"
    body = {"repositoryId": repository_id, "type": "pgvector", "rdsConfig": {}, "embeddingModelId": MODEL}
    answer = cloud.call("POST", "/api/repository", body=body)
    assert answer.status in (200, 201), answer.body

    def ready() -> bool:
        found = cloud.call("GET", f"/api/repository/{repository_id}/collection/{MODEL}")
        return found.status == 200 and found.body["status"] == "ACTIVE"

    eventually("the default collection", ready, within=120)
    stores = Stores.of(environment["LISA_DOCUMENTS_TABLE"], client)
    library = Library(
        cloud, repository_id, MODEL, environment["LISA_DOCUMENTS_BUCKET"], stores, client,
        environment["LISA_DOCUMENTS_TABLE"], cloud.session.client("s3"),
    )  # fmt: skip
    yield library
    cloud.call("DELETE", f"/api/repository/{repository_id}")
