"""What the world is told of documents: events on the bus, and metrics in the log."""

from collections.abc import Iterable
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit, single_metric

from lisa.events import EventPublisher
from lisa.rag.documents.jobs import FAILED
from lisa.rag.records import Document, Job, JobType

SOURCE = "lisa.documents"
DOCUMENT_STATUS_CHANGED = "Document Status Changed"


class Telling:
    """`deployment` is the dimension of the metrics, `namespace` theirs."""

    def __init__(self, events: EventPublisher, *, deployment: str, namespace: str = "LISA") -> None:
        self._events = events
        self._deployment = deployment
        self._namespace = namespace

    def __call__(self, ended: Iterable[tuple[Job, Document | None]], *, now: int, long: bool) -> None:
        """Raises Unavailable when the bus did not take the events, so that the step is tried again."""
        found = list(ended)
        if not found:
            return
        self._events.say_all(
            SOURCE, DOCUMENT_STATUS_CHANGED, [_detail(job, document) for job, document in found]
        )
        ingested = [document for _, document in found if document is not None]
        self._count("DocumentsIngested", len(ingested))
        self._count("ChunksIngested", sum(document.chunks for document in ingested))
        self._count("DocumentsFailed", sum(1 for job, _ in found if job.status in FAILED))
        for job, document in found:
            if document is not None:
                self._count(
                    "LongIngestionSeconds" if long else "IngestionSeconds",
                    (now - job.created_at) / 1000,
                    MetricUnit.Seconds,
                )

    def _count(self, name: str, value: float, unit: MetricUnit = MetricUnit.Count) -> None:
        if value:
            with single_metric(name, unit, value, namespace=self._namespace) as metric:
                metric.add_dimension("Deployment", self._deployment)


def _detail(job: Job, document: Document | None) -> dict[str, Any]:
    return {
        "documentId": job.document_id,
        "repositoryId": job.repository_id,
        "collectionId": job.collection_id,
        "source": job.source,
        "jobId": job.id,
        "removed": job.type is JobType.DELETION,
        "status": str(job.status),
        "reason": job.reason or None,
        "chunks": document.chunks if document else None,
        "at": job.updated_at,
    }
