"""Documents of a repository: upload, list, download, delete them, and follow the jobs on them."""

import json
from http import HTTPStatus
from typing import Annotated

from aws_lambda_powertools.event_handler import Response, content_types
from aws_lambda_powertools.event_handler.openapi.params import Body, Query
from lisa.api.resolver import api_handler, api_resolver, caller
from lisa.errors import InvalidRequest
from lisa.rag.documents import schema, wiring
from lisa.rag.documents.service import Upload
from lisa.rag.records import Chunking
from lisa.rag.repositories.definitions import chunking_of, custom_fields_of
from lisa.settings import Settings

settings = Settings.from_environment()
repositories = wiring.repositories(settings)
documents = wiring.service(settings)
app = api_resolver()

CollectionId = Annotated[str | None, Query(alias="collectionId", description="Id or name; without it, all")]
PageSize = Annotated[int | None, Query(alias="pageSize", description="1-100; without it, all")]
NextToken = Annotated[str | None, Query(alias="nextToken", description="From the page before")]


@app.get(
    "/api/repository/status",
    summary="Statuses of all repositories; and of files that were dropped where there is none",
    tags=["Repositories"],
)
def get_statuses() -> dict[str, str]:
    found = {each.id: str(each.status) for each in repositories.repositories()}
    return found | {job.source: f"{job.status}: {job.reason}" for job in documents.unplaced()}


@app.post(
    "/api/repository/presigned-url",
    summary="A form to upload one file by; the body is the file's name as it is",
    tags=["Documents"],
)
def presign() -> schema.PresignedUrl:
    name = app.current_event.decoded_body or ""
    return schema.presigned(documents.form(caller(app), name))


@app.post(
    "/api/repository/<repository_id>/bulk",
    summary="Ingest uploaded files into a collection",
    tags=["Documents"],
)
def ingest(
    repository_id: str,
    body: Annotated[schema.Bulk, Body()],
    chunk_size: Annotated[int | None, Query(alias="chunkSize", ge=100, le=10_000)] = None,
    chunk_overlap: Annotated[int | None, Query(alias="chunkOverlap", ge=0, le=5_000)] = None,
) -> schema.BulkAnswer:
    chunking = chunking_of(body.chunking_strategy) if body.chunking_strategy else None
    if chunking is None and chunk_size is not None:
        chunking = Chunking("fixed", chunk_size, min(chunk_overlap or 0, chunk_size // 2))
    collection, jobs = documents.ingest(
        caller(app),
        repository_id,
        body.collection,
        [Upload(key) for key in body.keys],
        chunking=chunking,
        tags=body.metadata.tags if body.metadata else (),
        attributes=custom_fields_of(body.metadata),
    )
    return schema.BulkAnswer(
        jobs=[schema.reference(job) for job in jobs],
        collection_id=collection.id,
        collection_name=collection.name,
    )


@app.get(
    "/api/repository/<repository_id>/document",
    summary="The documents that you see",
    tags=["Documents"],
)
def list_documents(
    repository_id: str,
    collection_id: CollectionId = None,
    page_size: PageSize = None,
    next_token: NextToken = None,
    last: Annotated[str | None, Query(alias="lastEvaluatedKeyPk", description="lastEvaluated.pk")] = None,
) -> schema.DocumentsAnswer:
    token = next_token or last
    found = documents.documents(caller(app), repository_id, collection_id, page_size=page_size, token=token)
    return schema.documents_answer(found.documents, found.next_token, found.total, is_first=not token)


@app.delete(
    "/api/repository/<repository_id>/document",
    summary="Delete documents by their ids in the body, or by documentName",
    tags=["Documents"],
)
def delete_documents(
    repository_id: str,
    body: Annotated[schema.DeleteDocuments | None, Body()] = None,
    collection_id: CollectionId = None,
    document_name: Annotated[str | None, Query(alias="documentName")] = None,
) -> schema.DeleteAnswer:
    if body is None and not document_name:
        raise InvalidRequest("Send documentIds in the body, or documentName.", field="documentIds")
    jobs = documents.delete(
        caller(app),
        repository_id,
        body.document_ids if body else (),
        collection=collection_id or ("" if document_name else None),
        name=document_name,
    )
    return schema.DeleteAnswer(jobs=[schema.reference(job) for job in jobs], deleted_count=len(jobs))


@app.get(
    "/api/repository/<repository_id>/jobs",
    summary="What was done and is being done, newest first: yours; everybody's for administrators",
    tags=["Documents"],
)
def list_jobs(
    repository_id: str,
    hours: Annotated[int, Query(alias="timeLimit", description="So many hours back")] = 720,
    page_size: PageSize = None,
    next_token: NextToken = None,
    last: Annotated[str | None, Query(alias="lastEvaluatedKey", description="As JSON")] = None,
) -> schema.JobsAnswer:
    token = next_token or _token(last)
    jobs, following = documents.jobs(
        caller(app), repository_id, hours=hours, page_size=page_size, token=token
    )
    return schema.jobs_answer(jobs, following, is_first=not token)


@app.post(
    "/api/repository/<repository_id>/jobs/<job_id>/redrive",
    summary="Try a failed job again",
    tags=["Documents"],
)
def redrive(repository_id: str, job_id: str) -> schema.JobItem:
    return schema.job_item(documents.redrive(caller(app), repository_id, job_id))


# After all that has a word of its own there.
@app.get(
    "/api/repository/<repository_id>/<document_id>",
    summary="A document",
    tags=["Documents"],
)
def get_document(repository_id: str, document_id: str) -> schema.DocumentItem:
    return schema.document_item(documents.get(caller(app), repository_id, document_id))


@app.get(
    "/api/repository/<repository_id>/<document_id>/download",
    summary="A URL that the document's file can be downloaded from for five minutes",
    tags=["Documents"],
)
def download(repository_id: str, document_id: str) -> Response[str]:
    link = documents.link(caller(app), repository_id, document_id)
    return Response(HTTPStatus.OK, content_types.APPLICATION_JSON, json.dumps(link))


def _token(last: str | None) -> str | None:
    if not last:
        return None
    try:
        return str(json.loads(last)["token"])
    except (ValueError, KeyError, TypeError):
        raise InvalidRequest(
            "lastEvaluatedKey is not one that a page gave.", field="lastEvaluatedKey"
        ) from None


handler = api_handler(app)
