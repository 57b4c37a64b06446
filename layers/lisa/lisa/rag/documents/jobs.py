"""Jobs in DynamoDB: what was done, or is being done, about a document or a collection."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lisa import dynamo
from lisa.rag.documents import rows
from lisa.rag.records import Job, JobStatus, JobType

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

PENDING = {JobStatus.INGESTION_PENDING, JobStatus.DELETE_PENDING}
SETTLED = {
    JobStatus.INGESTION_COMPLETED,
    JobStatus.INGESTION_FAILED,
    JobStatus.DELETE_COMPLETED,
    JobStatus.DELETE_FAILED,
}
FAILED = {JobStatus.INGESTION_FAILED, JobStatus.DELETE_FAILED}
_REMOVING = {JobType.DELETION, JobType.COLLECTION_DELETION}


def pending(kind: JobType) -> JobStatus:
    return JobStatus.DELETE_PENDING if kind in _REMOVING else JobStatus.INGESTION_PENDING


def running(kind: JobType) -> JobStatus:
    return JobStatus.DELETE_IN_PROGRESS if kind in _REMOVING else JobStatus.INGESTION_IN_PROGRESS


def completed(kind: JobType) -> JobStatus:
    return JobStatus.DELETE_COMPLETED if kind in _REMOVING else JobStatus.INGESTION_COMPLETED


def failed(kind: JobType) -> JobStatus:
    return JobStatus.DELETE_FAILED if kind in _REMOVING else JobStatus.INGESTION_FAILED


class JobStore:
    """`client` is a low-level DynamoDB client."""

    def __init__(self, table_name: str, client: "DynamoDBClient") -> None:
        self._table = table_name
        self._client = client

    def get(self, job_id: str) -> Job | None:
        answer = self._client.get_item(TableName=self._table, Key=rows.job_key(job_id), ConsistentRead=True)
        item = answer.get("Item")
        return rows.job_of(dynamo.from_item(item)) if item else None

    def several(self, job_ids: Iterable[str]) -> dict[str, Job]:
        """Those of these jobs that are there, by id."""
        keys = [rows.job_key(each) for each in dict.fromkeys(job_ids)]
        found = map(rows.job_of, dynamo.batch_get(self._client, self._table, keys))
        return {job.id: job for job in found}

    def putting(self, job: Job, *, unplaced: bool = False) -> Any:
        """The action of a transaction that writes a job."""
        return {"Put": {"TableName": self._table, "Item": rows.job_item(job, unplaced=unplaced)}}

    def put(self, jobs: Sequence[Job], *, unplaced: bool = False) -> None:
        """Writes jobs, in place of what was there under their ids."""
        dynamo.batch_put(self._client, self._table, [rows.job_item(job, unplaced=unplaced) for job in jobs])

    def progress(self, job_id: str, *, done: int, total: int, now: int) -> None:
        """Says how many of a running job's chunks are embedded; nothing once it is settled, or gone."""
        try:
            self._client.update_item(
                TableName=self._table,
                Key=rows.job_key(job_id),
                UpdateExpression="SET chunks_done = :done, chunks_total = :total, updated_at = :now",
                ConditionExpression="#status = :running",
                ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues={
                    ":done": {"N": str(done)},
                    ":total": {"N": str(total)},
                    ":now": {"N": str(now)},
                    ":running": {"S": str(JobStatus.INGESTION_IN_PROGRESS)},
                },
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return

    def settle(self, job: Job, status: JobStatus, reason: str = "", *, now: int) -> Job:
        """Writes a job's end, or that it begins again, and returns it."""
        changed = replace(job, status=status, reason=reason, updated_at=now)
        self._client.update_item(
            TableName=self._table,
            Key=rows.job_key(job.id),
            UpdateExpression="SET #status = :status, reason = :reason, updated_at = :now",
            ConditionExpression="attribute_exists(pk)",
            ExpressionAttributeNames={"#status": "status"},
            ExpressionAttributeValues=dynamo.to_item(
                {":status": str(status), ":reason": reason, ":now": now}
            ),
        )
        return changed

    def of_repository(
        self, repository_id: str, *, owner: str | None, since: int, limit: int | None, after: str | None
    ) -> tuple[list[Job], str | None]:
        """Newest first, those made since (epoch ms), with an owner only theirs; and the key to go on after."""
        if owner is None:
            return self._newest(rows.BY_PLACE, rows.jobs_place(repository_id), since, limit, after)
        return self._newest(rows.BY_OWNER, rows.jobs_owner(repository_id, owner), since, limit, after)

    def unplaced(self, *, since: int, limit: int = 100) -> list[Job]:
        """Files for which there was no repository or collection, newest first."""
        return self._newest(rows.BY_OWNER, rows.UNPLACED, since, limit, None)[0]

    def _newest(
        self, index: tuple[str, str], value: str, since: int, limit: int | None, after: str | None
    ) -> tuple[list[Job], str | None]:
        items, last = dynamo.index_page(
            self._client,
            self._table,
            index=index,
            value=value,
            since=rows.at(since, ""),
            limit=limit,
            after=after,
            newest_first=True,
        )
        return [rows.job_of(item) for item in items], last
