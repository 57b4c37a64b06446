"""A pipeline's folder is looked through: what is new, changed or gone goes into the queue as if S3 had told of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from lisa.errors import NotFound, Unavailable
from lisa.rag.documents import naming
from lisa.rag.documents.objects import Kind, ObjectState, ObjectStore
from lisa.rag.documents.queue import Request, WorkQueue
from lisa.rag.records import Pipeline
from lisa.rag.repositories.store import RepositoryStore

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

_PAGE = 500


@dataclass(frozen=True, slots=True)
class Found:
    """How many files there are, and how many of them are asked for: new or changed, and gone."""

    files: int
    changed: int
    removed: int


class FindDocuments:
    """`s3` is a low-level client."""

    def __init__(
        self, repositories: RepositoryStore, objects: ObjectStore, s3: "S3Client", queue: WorkQueue
    ) -> None:
        self._repositories = repositories
        self._objects = objects
        self._s3 = s3
        self._queue = queue

    def __call__(self, name: str) -> Found:
        """`name` is `<repository>/<pipeline>`. Raises NotFound for one that is gone, Unavailable where S3 says no."""
        repository_id, _, pipeline_id = name.partition("/")
        repository = self._repositories.repository(repository_id)
        pipelines = [each for each in repository.pipelines if each.id == pipeline_id] if repository else []
        if not pipelines:
            raise NotFound(f"There is no pipeline {name!r}.")
        (pipeline,) = pipelines
        seen: set[str] = set()
        changed = 0
        for page in self._pages(pipeline):
            requests = self._changed(name, pipeline, page)
            self._queue.ask(requests)
            changed += len(requests)
            seen |= {each["Key"] for each in page}
        removed = self._removed(name, repository_id, pipeline, seen) if pipeline.auto_remove else []
        self._queue.ask(removed)
        return Found(len(seen), changed, len(removed))

    def _pages(self, pipeline: Pipeline) -> Iterator[list[Any]]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=pipeline.bucket, Prefix=pipeline.prefix, PaginationConfig={"PageSize": _PAGE}
        )
        try:
            for page in pages:
                found: list[Any] = [
                    each for each in page.get("Contents", []) if not naming.is_folder(each["Key"])
                ]
                yield found
        except ClientError as error:
            raise Unavailable(
                f"The bucket {pipeline.bucket} cannot be read ({error.response['Error']['Code']}): is its name right, "
                "and does it begin as the deployment's PipelineBucketPrefix says?"
            ) from error

    def _changed(self, name: str, pipeline: Pipeline, page: Sequence[Any]) -> list[Request]:
        ids = {each["Key"]: naming.document_id(pipeline.bucket, each["Key"], name) for each in page}
        known = self._objects.states(ids.values())
        requests = []
        for each in page:
            state, etag = known.get(ids[each["Key"]]), each["ETag"].strip('"')
            if state is not None and state.kind is Kind.CREATED and state.etag == etag:
                continue
            requests.append(
                Request(
                    bucket=pipeline.bucket,
                    key=each["Key"],
                    pipeline=name,
                    sequencer=_next(state),
                    etag=etag,
                    size=each["Size"],
                    existing=True,
                )
            )
        return requests

    def _removed(self, name: str, repository_id: str, pipeline: Pipeline, seen: set[str]) -> list[Request]:
        requests: list[Request] = []
        after = None
        while True:
            states, after = self._objects.of_collection(
                repository_id, pipeline.collection_id, limit=_PAGE, after=after
            )
            requests += [
                Request(bucket=s.bucket, key=s.key, pipeline=name, sequencer=_next(s), removal=True)
                for s in states
                if s.pipeline == name and s.kind is Kind.CREATED and s.key not in seen
            ]
            if after is None:
                return requests


def _next(state: ObjectState | None) -> str:
    """Right after the newest version that is known, and before any that S3 will tell of."""
    return naming.following(state.sequencer if state and state.sequencer else naming.sequencer("0"))
