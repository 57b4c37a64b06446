import json
from urllib.parse import urlsplit

import boto3
import pytest
from lisa import dynamo
from lisa.errors import Conflict, Forbidden, InvalidRequest, NotFound
from lisa.rag.documents import naming
from lisa.rag.documents.objects import Kind
from lisa.rag.documents.service import Upload
from lisa.rag.documents.store import Count, Kept
from lisa.rag.records import Chunking, JobStatus, JobType

from tests.unit.rag.documents.bodies import change, document
from tests.unit.rag.documents.conftest import BUCKET, MEBIBYTE
from tests.unit.rag.people import ADMIN, collection, person

ANN, BOB = person("ann"), person("bob")


def uploaded(user: str = "ann", name: str = "a.txt", body: bytes = b"text") -> str:
    key = naming.upload_key(user, name)
    boto3.client("s3").put_object(Bucket=BUCKET, Key=key, Body=body)
    return key


@pytest.fixture
def keep(stores, dynamodb, clock):
    """Puts a document into the table as if it had been ingested."""

    def _keep(key: str, **fields):
        found = document(key, **fields)
        assert dynamo.transact(dynamodb, [stores.documents.putting(Kept(found, {1: found.chunks}), None)])
        place = {"repository_id": found.repository_id, "collection_id": found.collection_id}
        state = stores.objects.take(change("01", key=key, **place), now=clock.ms).state
        count = Count(1, found.chunks, found.bytes)
        dynamo.transact(
            dynamodb,
            [
                stores.objects.close(state.document_id, state.sequencer),
                stores.documents.counting(found.repository_id, found.collection_id, count),
            ],
        )
        return found

    return _keep


def sent(sqs, queue_url):
    messages = sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10).get("Messages", [])
    return [json.loads(each["Body"])["request"] for each in messages]


# --- Uploading


def test_a_form_is_for_one_key_of_the_callers_and_bounded(service):
    form = service.form(ANN, "report.pdf")
    assert form.fields["key"].startswith("_uploads/ann/")
    assert form.fields["key"].endswith("/report.pdf")
    assert form.fields["x-amz-meta-user"] == "ann"
    import base64

    policy = json.loads(base64.b64decode(form.fields["policy"]))
    assert ["content-length-range", 0, MEBIBYTE] in policy["conditions"]
    assert {"key": form.fields["key"]} in policy["conditions"]
    assert {"bucket": BUCKET} in policy["conditions"]


def test_an_upload_is_dropped_under_its_owner_and_its_job_is_there(service, stores):
    key = uploaded()
    found, (job,) = service.ingest(
        ANN, "library", "Case Law", [Upload(key)], tags=["x"], attributes={"year": 1}
    )
    assert found.id == "c-1"
    assert job.source == f"s3://{BUCKET}/library/c-1/~ann/a.txt"
    assert job.status is JobStatus.INGESTION_PENDING
    assert stores.jobs.get(job.id) == job
    body = boto3.client("s3").get_object(Bucket=BUCKET, Key="library/c-1/~ann/a.txt")["Body"].read()
    assert body == b"text"
    state = stores.objects.get(job.document_id)
    assert (state.expected, state.wishes.owner, state.wishes.attributes) == (job.id, "ann", {"year": 1})


def test_nobody_ingests_anothers_upload_or_what_is_not_there(service):
    for key in (
        uploaded("bob"),
        "_uploads/ann/../bob/x",
        "library/c-1/a.txt",
        naming.upload_key("ann", "b.txt"),
    ):
        with pytest.raises(NotFound) as caught:
            service.ingest(ANN, "library", "c-1", [Upload(key)])
        assert key[:20] in caught.value.message


def test_nothing_is_dropped_when_one_of_the_keys_is_wrong(service):
    with pytest.raises(NotFound):
        service.ingest(ANN, "library", "c-1", [Upload(uploaded()), Upload("nothing")])
    listed = boto3.client("s3").list_objects_v2(Bucket=BUCKET, Prefix="library/")
    assert listed["KeyCount"] == 0


def test_other_chunking_counts_only_where_the_collection_allows_it(service, repositories, stores):
    own = Chunking(size=100, overlap=10)
    repositories.create_collection(collection("free", allow_chunking_override=True))
    _, (kept,) = service.ingest(ANN, "library", "free", [Upload(uploaded())], chunking=own)
    _, (dropped,) = service.ingest(ANN, "library", "c-1", [Upload(uploaded())], chunking=own)
    assert (kept.chunking, dropped.chunking) == (own, Chunking())


def test_a_collection_that_one_does_not_see_takes_nothing(service, repositories):
    repositories.create_collection(collection("bobs", owner="bob"))
    with pytest.raises(NotFound):
        service.ingest(ANN, "library", "bobs", [Upload(uploaded())])
    with pytest.raises(InvalidRequest):
        service.ingest(ANN, "library", "c-1", [])


# --- Looking


def test_pages_of_documents_go_through_all_collections_and_lose_none(service, keep):
    for number in range(5):
        keep(f"library/c-1/{number}", uploaded_at=1000 + number)
        keep(f"library/{number}", collection_id="mini", uploaded_at=1000 + number)
    everything = service.documents(ANN, "library")
    assert everything.total == 10
    assert everything.next_token is None
    for size in (1, 3, 5, 10, 100):
        found, token = [], None
        while True:
            page = service.documents(ANN, "library", page_size=size, token=token)
            found += page.documents
            token = page.next_token
            if token is None:
                break
        assert sorted(each.id for each in found) == sorted(each.id for each in everything.documents)
    assert len(service.documents(ANN, "library", "Case Law").documents) == 5


def test_documents_of_a_hidden_collection_do_not_exist(service, repositories, keep):
    repositories.create_collection(collection("bobs", owner="bob"))
    hidden = keep("library/bobs/x", collection_id="bobs", owner="bob")
    assert service.get(BOB, "library", hidden.id) == hidden
    for verb in (service.get, service.link):
        with pytest.raises(NotFound):
            verb(ANN, "library", hidden.id)
    with pytest.raises(NotFound):
        service.delete(ANN, "library", [hidden.id])
    assert service.documents(ANN, "library").documents == []
    assert service.documents(ANN, "library").total == 0


def test_a_document_is_found_under_its_own_repository_alone(service, repositories, keep):
    from tests.unit.rag.people import repository

    repositories.create_repository(repository("other"))
    found = keep("library/c-1/x")
    with pytest.raises(NotFound):
        service.get(ADMIN, "other", found.id)


def test_a_download_has_the_documents_name_and_is_never_shown_in_place(service, keep):
    keep("library/c-1/ü.html", name="ü.html")
    url = service.link(ANN, "library", naming.document_id(BUCKET, "library/c-1/ü.html"))
    assert "attachment" in urlsplit(url).query
    assert "octet-stream" in urlsplit(url).query


# --- Deleting and trying again


def test_who_may_delete(service, keep, sqs, queue_url):
    found = keep("library/c-1/x", owner="ann")
    with pytest.raises(Forbidden):
        service.delete(BOB, "library", [found.id])
    (job,) = service.delete(ANN, "library", [found.id])
    assert (job.status, job.type) == (JobStatus.DELETE_PENDING, JobType.DELETION)
    assert sent(sqs, queue_url) == [{"document_id": found.id, "removal": True, "interactive": True}]


def test_a_file_that_nobody_owns_is_deleted_by_administrators_of_retrieval(service, keep):
    found = keep("library/c-1/x", owner="")
    with pytest.raises(Forbidden):
        service.delete(ANN, "library", [found.id])
    assert service.delete(person("eve", rag_admin=True), "library", [found.id])


def test_a_removal_is_later_than_every_version_that_is_known(service, stores, keep, clock):
    found = keep("library/c-1/x")
    newer = stores.objects.take(change("02", key="library/c-1/x"), now=clock.ms).state
    (job,) = service.delete(ANN, "library", [found.id])
    state = stores.objects.get(found.id)
    assert state.sequencer > newer.sequencer
    assert (state.kind, state.job_id) == (Kind.REMOVED, job.id)
    # The event of the version that was there comes again: too late.
    assert stores.objects.take(change("02", key="library/c-1/x"), now=clock.ms).older


def test_by_name_only_the_collections_documents_go(service, keep):
    keep("library/c-1/p/x.txt")
    keep("library/c-1/q/x.txt")
    keep("library/c-1/y.txt")
    jobs = service.delete(ANN, "library", collection="c-1", name="x.txt")
    assert len(jobs) == 2
    with pytest.raises(NotFound, match="nothing"):
        service.delete(ANN, "library", collection="c-1", name="nothing.txt")


def test_a_failed_job_is_tried_again_and_no_other(service, stores, dynamodb, clock, sqs, queue_url):
    # Given
    _, (job,) = service.ingest(ANN, "library", "c-1", [Upload(uploaded())])
    state = stores.objects.take(change("01", key="library/c-1/~ann/a.txt"), now=clock.ms).state
    assert state.job_id == job.id
    with pytest.raises(Conflict):
        service.redrive(ANN, "library", job.id)
    stores.jobs.settle(job, JobStatus.INGESTION_FAILED, "It is encrypted.", now=clock.ms)
    dynamo.transact(dynamodb, [stores.objects.close(state.document_id, state.sequencer)])

    # Then
    with pytest.raises(NotFound):
        service.redrive(BOB, "library", job.id)
    assert service.redrive(ANN, "library", job.id).status is JobStatus.INGESTION_PENDING
    assert stores.objects.take(change("01", key="library/c-1/~ann/a.txt"), now=clock.ms).state is not None
    assert sent(sqs, queue_url) == [{"document_id": job.document_id, "interactive": True}]


def test_a_job_whose_file_has_changed_since_is_not_tried_again(service, stores, clock):
    _, (job,) = service.ingest(ANN, "library", "c-1", [Upload(uploaded())])
    stores.objects.take(change("01", key="library/c-1/~ann/a.txt"), now=clock.ms)
    stores.jobs.settle(job, JobStatus.INGESTION_FAILED, "Bad.", now=clock.ms)
    stores.objects.take(change("02", key="library/c-1/~ann/a.txt"), now=clock.ms)
    with pytest.raises(Conflict):
        service.redrive(ANN, "library", job.id)


def test_jobs_are_the_callers_own_newest_first_and_everybodys_for_administrators(service, clock):
    for user in (ANN, BOB, ANN):
        clock.now += 1
        service.ingest(user, "library", "c-1", [Upload(uploaded(user.user))])
    own, _ = service.jobs(ANN, "library")
    assert [job.owner for job in own] == ["ann", "ann"]
    assert own[0].created_at > own[1].created_at
    everybody, token = service.jobs(ADMIN, "library", page_size=2)
    rest, end = service.jobs(ADMIN, "library", page_size=2, token=token)
    assert [job.owner for job in everybody + rest] == ["ann", "bob", "ann"]
    assert end is None
    clock.now += 7200
    assert service.jobs(ANN, "library", hours=1) == ([], None)
