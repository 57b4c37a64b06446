"""From what people send to what is kept, and back."""

import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace

from lisa.errors import InvalidRequest
from lisa.rag.records import Attribute, Chunking, Collection, Connection, Pipeline, Repository, StoreType
from lisa.rag.repositories.schema import (
    ChunkingStrategy,
    CollectionAnswer,
    CreateRepository,
    Metadata,
    OpenSearchConfig,
    PipelineDefinition,
    RdsConfig,
    RepositoryAnswer,
)

ONCE_A_DAY = "cron(0 3 * * ? *)"


def connection_of(request: CreateRepository) -> Connection:
    """Where the repository's own store is; raises InvalidRequest for settings of another type of store."""
    if request.type == "pgvector":
        if request.opensearch_config is not None:
            raise InvalidRequest("opensearchConfig is for the type opensearch.", field="opensearchConfig")
        rds = request.rds_config
        if rds is None or not rds.db_host:
            return Connection()
        return Connection(rds.db_host, rds.db_port, rds.db_name, rds.username, rds.password_secret_id or "")
    if request.rds_config is not None:
        raise InvalidRequest("rdsConfig is for the type pgvector.", field="rdsConfig")
    endpoint = request.opensearch_config.endpoint if request.opensearch_config else None
    return Connection(endpoint=endpoint.rstrip("/")) if endpoint else Connection()


def chunking_of(strategy: ChunkingStrategy) -> Chunking:
    return (
        Chunking("none", 0, 0)
        if strategy.type == "none"
        else Chunking("fixed", strategy.size, strategy.overlap)
    )


def strategy_of(chunking: Chunking) -> dict[str, str | int]:
    if chunking.type == "none":
        return {"type": "none"}
    return {"type": chunking.type, "size": chunking.size, "overlap": chunking.overlap}


def custom_fields_of(metadata: Metadata | None) -> dict[str, Attribute]:
    """Custom fields as they are kept: every number is a float."""
    if metadata is None:
        return {}
    return {
        name: value if isinstance(value, bool | str) else float(value)
        for name, value in metadata.custom_fields.items()
    }


def metadata_of(tags: Iterable[str], custom_fields: Mapping[str, Attribute]) -> Metadata:
    return Metadata(tags=list(tags), custom_fields=dict(custom_fields))


def pipeline_of(definition: PipelineDefinition, collection_id: str, *, field: str) -> Pipeline:
    """A new pipeline into this collection. Raises InvalidRequest naming the part of `field` that is wrong."""
    if definition.trigger != "schedule" and definition.schedule:
        raise InvalidRequest("A schedule is for the trigger schedule.", field=f"{field}.schedule")
    chunking = None
    if definition.chunking_strategy is not None:
        chunking = chunking_of(definition.chunking_strategy)
    elif (definition.chunk_size is None) != (definition.chunk_overlap is None):
        raise InvalidRequest(
            "Give both chunkSize and chunkOverlap, or none of them.", field=f"{field}.chunkSize"
        )
    elif definition.chunk_size is not None and definition.chunk_overlap is not None:
        if definition.chunk_overlap * 2 > definition.chunk_size:
            raise InvalidRequest(
                "chunkOverlap must be half of chunkSize at most.", field=f"{field}.chunkOverlap"
            )
        chunking = Chunking("fixed", definition.chunk_size, definition.chunk_overlap)
    return Pipeline(
        id=uuid.uuid4().hex[:12],
        bucket=definition.s3_bucket,
        prefix=definition.s3_prefix.lstrip("/"),
        trigger=definition.trigger,
        collection_id=collection_id,
        auto_remove=definition.auto_remove,
        schedule="" if definition.trigger == "event" else definition.schedule or ONCE_A_DAY,
        chunking=chunking,
        tags=tuple(definition.metadata.tags),
        attributes=custom_fields_of(definition.metadata),
    )


def pipelines_of(
    wanted: list[PipelineDefinition], collection_ids: list[str], kept: tuple[Pipeline, ...]
) -> tuple[Pipeline, ...]:
    """The pipelines that are wanted, of which those that are there keep their ids.

    One that is there is known by its pipelineId or by what never changes of it: bucket, prefix, trigger, collection
    and autoRemove. Raises InvalidRequest for an attempt to change these, for an id of none, and for one given twice.
    """
    by_id = {pipeline.id: pipeline for pipeline in kept}
    found: list[Pipeline] = []
    for number, (definition, collection_id) in enumerate(zip(wanted, collection_ids, strict=True)):
        field = f"pipelines.{number}"
        new = pipeline_of(definition, collection_id, field=field)
        old = by_id.get(definition.pipeline_id or "")
        if definition.pipeline_id and old is None:
            raise InvalidRequest(
                f"There is no pipeline {definition.pipeline_id!r}: leave pipelineId out of a new one.",
                field=f"{field}.pipelineId",
            )
        if old is None:
            old = next((each for each in kept if _place(each) == _place(new)), None)
        if old is not None:
            _unchanged(old, new, field)
            new = replace(new, id=old.id)
        if any(_place(each) == _place(new) for each in found):
            raise InvalidRequest("Two pipelines say the same.", field=field)
        found.append(new)
    return tuple(found)


def _place(pipeline: Pipeline) -> tuple[str, str, str]:
    return pipeline.bucket, pipeline.prefix, pipeline.collection_id


def _unchanged(old: Pipeline, new: Pipeline, field: str) -> None:
    for name, wire in (
        ("bucket", "s3Bucket"),
        ("prefix", "s3Prefix"),
        ("trigger", "trigger"),
        ("collection_id", "collectionId"),
        ("auto_remove", "autoRemove"),
    ):
        if getattr(old, name) != getattr(new, name):
            raise InvalidRequest(
                f"{wire} of a pipeline never changes: remove the pipeline and make another.",
                field=f"{field}.{wire}",
            )


def pipeline_answer(pipeline: Pipeline) -> PipelineDefinition:
    return PipelineDefinition.model_validate(
        {
            "pipelineId": pipeline.id,
            "s3Bucket": pipeline.bucket,
            "s3Prefix": pipeline.prefix,
            "trigger": pipeline.trigger,
            "schedule": pipeline.schedule or None,
            "autoRemove": pipeline.auto_remove,
            "collectionId": pipeline.collection_id,
            "chunkingStrategy": strategy_of(pipeline.chunking) if pipeline.chunking else None,
            "metadata": metadata_of(pipeline.tags, pipeline.attributes),
        }
    )


def repository_answer(repository: Repository) -> RepositoryAnswer:
    where = repository.connection
    is_own = bool(where.endpoint)
    rds = search = None
    if repository.type is StoreType.PGVECTOR:
        rds = (
            RdsConfig(
                username=where.username,
                password_secret_id=where.secret_id or None,
                db_host=where.endpoint,
                db_name=where.database,
                db_port=where.port,
            )
            if is_own
            else RdsConfig()
        )
    else:
        search = OpenSearchConfig(endpoint=where.endpoint or None)
    return RepositoryAnswer(
        repository_id=repository.id,
        type=str(repository.type),
        repository_name=repository.name,
        description=repository.description,
        embedding_model_id=repository.embedding_model_id or None,
        allowed_groups=list(repository.allowed_groups),
        allow_user_collections=repository.allow_user_collections,
        metadata=metadata_of(repository.tags, repository.custom_fields),
        pipelines=[pipeline_answer(pipeline) for pipeline in repository.pipelines],
        rds_config=rds,
        opensearch_config=search,
        status=str(repository.status),
        status_reason=repository.reason or None,
        created_by=repository.created_by,
        created_at=moment(repository.created_at),
        updated_at=moment(repository.updated_at),
    )


def collection_answer(repository: Repository, collection: Collection) -> CollectionAnswer:
    return CollectionAnswer(
        collection_id=collection.id,
        repository_id=collection.repository_id,
        repository_name=repository.name,
        name=collection.name,
        description=collection.description,
        chunking_strategy=strategy_of(collection.chunking),
        allow_chunking_override=collection.allow_chunking_override,
        metadata=metadata_of(collection.tags, collection.custom_fields),
        allowed_groups=list(collection.allowed_groups),
        embedding_model=collection.embedding_model,
        dimensions=collection.dimensions,
        owner=collection.owner or None,
        created_by=collection.created_by,
        created_at=moment(collection.created_at),
        updated_at=moment(collection.updated_at),
        status=str(collection.status),
        status_reason=collection.reason or None,
        default=collection.is_default,
        pipelines=[
            pipeline_answer(pipeline)
            for pipeline in repository.pipelines
            if pipeline.collection_id == collection.id
        ],
    )


def moment(milliseconds: int) -> str:
    """A time in ISO 8601, in UTC."""
    whole, rest = divmod(milliseconds, 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{rest:03d}Z"
