"""The steps with their stores, as a function's settings say. Each function asks for the one that it is."""

from functools import partial
from typing import TYPE_CHECKING

from lisa import aws
from lisa.events import EventPublisher
from lisa.rag.documents.forget import Forgetter
from lisa.rag.documents.slots import SlotStore
from lisa.rag.documents.wiring import queue, repositories, stores, uploads
from lisa.rag.ingestion.check import CheckDocuments
from lisa.rag.ingestion.commit import CommitDocuments
from lisa.rag.ingestion.dispatch import DispatchDocuments
from lisa.rag.ingestion.executions import IngestionExecutions
from lisa.rag.ingestion.find import FindDocuments
from lisa.rag.ingestion.generations import ReindexStore
from lisa.rag.ingestion.reconcile import ReconcileDocuments
from lisa.rag.ingestion.reindex import Reindexing
from lisa.rag.ingestion.schedules import PipelineSchedules
from lisa.rag.ingestion.telling import Telling
from lisa.rag.ingestion.work import WorkArea
from lisa.settings import Settings

if TYPE_CHECKING:
    from lisa.rag.ingestion.embed import EmbedBatch
    from lisa.rag.ingestion.indices import Indices
    from lisa.rag.ingestion.parse import ParseDocuments
    from lisa.rag.ingestion.store import StoreDocuments


def reindexes(settings: Settings) -> ReindexStore:
    return ReindexStore(settings.documents_table, aws.dynamodb())


def slots(settings: Settings) -> SlotStore:
    return SlotStore(settings.documents_table, aws.dynamodb(), slots=settings.ingestion_slots)


def area(settings: Settings) -> WorkArea:
    return WorkArea(settings.documents_bucket, aws.s3())


def finder(settings: Settings) -> FindDocuments:
    return FindDocuments(repositories(settings), stores(settings).objects, aws.s3(), queue(settings))


def schedules(settings: Settings) -> PipelineSchedules:
    return PipelineSchedules(
        settings.deployment,
        aws.scheduler(),
        aws.functions(),
        find_arn=settings.document_find_arn,
        role_arn=settings.scheduler_role_arn,
    )


def executions(settings: Settings) -> IngestionExecutions:
    return IngestionExecutions(
        aws.patient_step_functions(),
        ingest=settings.document_ingest_state_machine_arn,
        delete=settings.document_delete_state_machine_arn,
        long=settings.document_ingest_long_state_machine_arn,
    )


def forgetter(settings: Settings) -> Forgetter:
    return Forgetter(
        settings.documents_table, aws.dynamodb(), stores(settings), aws.s3(), settings.documents_bucket
    )


def dispatcher(settings: Settings) -> DispatchDocuments:
    return DispatchDocuments(
        executions(settings), queue(settings), slots(settings), drop_bucket=settings.documents_bucket
    )


def check(settings: Settings) -> CheckDocuments:
    return CheckDocuments(
        repositories(settings),
        stores(settings),
        reindexes(settings),
        drop_bucket=settings.documents_bucket,
        is_there=uploads(settings).is_there,
        max_bytes=settings.max_document_bytes,
        auto_remove=settings.auto_remove,
    )


def commit(settings: Settings) -> CommitDocuments:
    return CommitDocuments(
        aws.dynamodb(),
        repositories(settings),
        stores(settings),
        reindexes(settings),
        uploads(settings),
        queue(settings),
        Telling(EventPublisher(settings.event_bus, aws.events()), deployment=settings.deployment),
    )


def reconciler(settings: Settings) -> ReconcileDocuments:
    return ReconcileDocuments(
        aws.dynamodb(),
        stores(settings),
        slots(settings),
        executions(settings),
        uploads(settings),
        queue(settings),
        commit(settings),
    )


def reindexing(settings: Settings) -> Reindexing:
    return Reindexing(
        aws.dynamodb(),
        repositories(settings),
        stores(settings),
        reindexes(settings),
        queue(settings),
        machine=settings.collection_reindex_state_machine_arn,
        executions=aws.step_functions(),
    )


# What follows needs the layer with parsers and drivers, and imports it when it is asked for.


def parse(settings: Settings) -> "ParseDocuments":
    from lisa.rag.ingestion.contents import FileContents
    from lisa.rag.ingestion.parse import ParseDocuments
    from lisa.rag.parsing import Limits
    from lisa.rag.tokenizing import tokenizers_of_process

    return ParseDocuments(
        FileContents(tokenizers_of_process(), Limits(bytes=settings.max_document_bytes)),
        stores(settings).documents,
        area(settings),
        aws.s3(),
        max_bytes=settings.max_document_bytes,
    )


def embed(settings: Settings) -> "EmbedBatch":
    from lisa.rag.embedding import embedder
    from lisa.rag.ingestion.embed import EmbedBatch

    return EmbedBatch(embedder(), area(settings), stores(settings).jobs)


def store(settings: Settings) -> "StoreDocuments":
    from lisa.rag.ingestion.store import StoreDocuments
    from lisa.rag.vectors.connect import open_store

    return StoreDocuments(
        repositories(settings),
        stores(settings),
        reindexes(settings),
        area(settings),
        partial(open_store, settings=settings),
        drop_bucket=settings.documents_bucket,
    )


def indices(settings: Settings) -> "Indices":
    from lisa.rag.ingestion.indices import Indices
    from lisa.rag.vectors.connect import open_store

    return Indices(repositories(settings), reindexes(settings), partial(open_store, settings=settings))
