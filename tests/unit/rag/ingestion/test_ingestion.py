"""From an event to chunks in the index and rows in the table, when all goes well and when it does not."""

import itertools
import json
from threading import Barrier

import pytest
from lisa.rag.documents import naming
from lisa.rag.documents.service import Upload
from lisa.rag.ingestion.commit import MAX_ATTEMPTS
from lisa.rag.ingestion.dispatch import request_of
from lisa.rag.records import Chunking, CollectionStatus, JobStatus

from tests.unit.rag.ingestion.conftest import ANN, BUCKET
from tests.unit.rag.people import collection

KEY = "library/c-1/a.txt"


def statuses(world):
    return [job.status for job in world.jobs()]


def test_a_dropped_file_becomes_a_document(world):
    assert world.deliver(world.put(KEY, "one\ntwo")) == []
    assert world.texts(KEY) == ["one", "two"]
    (document,) = world.service.documents(ANN, "library", "c-1").documents
    assert (document.chunks, document.bytes, document.name, document.owner) == (2, 7, "a.txt", "")
    assert document.source == f"s3://{BUCKET}/{KEY}"
    assert document.chunking == Chunking(size=254, overlap=51)  # what the model reads of 512
    assert statuses(world) == [JobStatus.INGESTION_COMPLETED]
    assert world.count() == (1, 2, 7, 0)
    assert world.open() == []
    assert [(e["status"], e["chunks"]) for e in world.said] == [("INGESTION_COMPLETED", 2)]


def test_a_collection_is_named_by_its_name_or_not_at_all(world):
    world.deliver(world.put("library/Case%20Law/x/y.txt", "one"), world.put("library/z.txt", "two"))
    assert world.texts("library/Case%20Law/x/y.txt") == ["one"]
    assert world.texts("library/z.txt", "mini") == ["two"]


def test_a_change_takes_the_place_of_what_was_there(world):
    world.deliver(world.put(KEY, "one\ntwo"))
    world.deliver(world.put(KEY, "three"))
    assert world.texts(KEY) == ["three"]
    assert world.count() == (1, 1, 5, 0)
    assert statuses(world) == [JobStatus.INGESTION_COMPLETED] * 2


def test_what_has_not_changed_is_not_embedded_again(world):
    world.deliver(world.put(KEY, "one\ntwo"))
    world.deliver(world.put(KEY, "one\ntwo"))
    assert world.model.asked == ["one", "two"]
    (document,) = world.service.documents(ANN, "library", "c-1").documents
    assert document.sequencer == naming.sequencer(f"{2:016X}")
    assert world.count() == (1, 2, 7, 0)


def test_an_index_that_was_lost_is_filled_again(world):
    world.deliver(world.put(KEY, "one"))
    world.chunks.indices.clear()
    world.deliver(world.put(KEY, "one"))
    world.settle()
    assert world.texts(KEY) == ["one"]
    assert world.count() == (1, 1, 3, 0)


def test_a_deleted_file_is_removed(world):
    world.deliver(world.put(KEY, "one"))
    world.deliver(world.remove(KEY))
    assert world.texts(KEY) == []
    assert world.service.documents(ANN, "library", "c-1").documents == []
    assert world.count() == (0, 0, 0, 0)
    assert world.open() == []
    assert statuses(world)[0] == JobStatus.DELETE_COMPLETED


def test_the_end_of_an_old_version_removes_nothing(world):
    # S3 says of a version that lifecycle rules clear away what it says of a file that is deleted.
    world.deliver(world.put(KEY, "one"))
    world.deliver(world.event("Object Deleted", KEY))
    assert world.texts(KEY) == ["one"]


def test_in_whatever_order_events_come_and_however_often_the_last_version_is_there_once(world):
    for number, order in enumerate(itertools.permutations(range(3))):
        key = f"library/c-1/{number}.txt"
        events = [world.put(key, "first"), world.put(key, "second"), world.put(key, "third\nand more")]
        for position in order:
            world.deliver(events[position])
            world.deliver(events[position], events[position])
        assert world.texts(key) == ["third", "and more"], order
    assert world.count() == (6, 12, 6 * 14, 0)
    assert world.open() == []
    assert set(statuses(world)) == {JobStatus.INGESTION_COMPLETED}


def test_a_removal_that_comes_before_what_it_removes_is_the_last_word(world):
    created, removed = world.put(KEY, "one"), world.remove(KEY)
    world.deliver(removed)
    world.deliver(created)
    assert world.texts(KEY) == []
    assert world.count() == (0, 0, 0, 0)
    assert world.open() == []


def test_all_in_one_batch(world):
    events = [world.put(KEY, "one"), world.put(KEY, "two"), world.put("library/c-1/b.txt", "b")]
    world.deliver(*events, events[1])
    assert world.texts(KEY) == ["two"]
    assert world.count() == (2, 2, 4, 0)
    assert world.open() == []


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("nowhere/x/a.txt", "no repository 'nowhere'"),
        ("library/nothing/a.txt", "no collection 'nothing'"),
        ("a.txt", "no repository's folder"),
    ],
)
def test_a_file_that_belongs_nowhere_is_seen_by_administrators(world, key, words):
    world.deliver(world.put(key, "one"))
    (job,) = world.service.unplaced()
    assert job.status is JobStatus.INGESTION_FAILED
    assert words in job.reason
    assert job.source == f"s3://{BUCKET}/{key}"
    assert world.open() == []


def test_a_file_that_belongs_nowhere_is_taken_once_its_collection_is_there(world):
    from tests.unit.rag.people import ADMIN

    world.deliver(world.put("library/later/a.txt", "one"))
    (job,) = world.service.unplaced()
    world.repositories.create_collection(collection("later", dimensions=4))
    world.service.redrive(ADMIN, "library", job.id)
    world.settle()
    assert world.texts("library/later/a.txt", "later") == ["one"]
    assert world.count("later") == (1, 1, 3, 0)


def test_a_poisoned_file_fails_with_its_reason_and_holds_up_no_other(world):
    world.deliver(world.put(KEY, "POISON"), world.put("library/c-1/b.txt", "fine"))
    assert world.texts("library/c-1/b.txt") == ["fine"]
    failed = next(job for job in world.jobs() if job.source.endswith("a.txt"))
    assert (failed.status, failed.reason) == (JobStatus.INGESTION_FAILED, "The file is encrypted.")
    assert failed.code == "encrypted"
    assert world.count() == (1, 1, 4, 1)
    assert world.open() == []


def test_a_version_that_fails_leaves_the_one_before_it_and_a_good_one_heals_the_count(world):
    world.deliver(world.put(KEY, "one"))
    world.deliver(world.put(KEY, "POISON"))
    assert world.texts(KEY) == ["one"]
    assert world.count() == (1, 1, 3, 1)
    world.deliver(world.put(KEY, "POISON still"))
    assert world.count() == (1, 1, 3, 1)
    world.deliver(world.put(KEY, "two"))
    assert world.texts(KEY) == ["two"]
    assert world.count() == (1, 1, 3, 0)


def test_a_text_that_the_model_refuses_fails_its_document_alone(world):
    world.deliver(world.put(KEY, "good\nREFUSED"), world.put("library/c-1/b.txt", "fine\nas well"))
    assert world.texts(KEY) == []
    assert world.texts("library/c-1/b.txt") == ["fine", "as well"]
    assert world.count() == (1, 2, 12, 1)


def test_a_model_that_is_gone_is_named(world):
    world.model.gone = True
    world.deliver(world.put(KEY, "one"))
    (job,) = world.jobs()
    assert job.status is JobStatus.INGESTION_FAILED
    assert "no model mini" in job.reason


def test_a_file_that_is_too_large_is_not_even_read(world):
    world.deliver(world.put(KEY, "x" * ((1 << 20) + 1)))
    assert world.files.read_files == []
    (job,) = world.jobs()
    assert "1,048,576" in job.reason


def test_a_collection_that_is_being_created_is_waited_for(world):
    new = collection("new", dimensions=4, status=CollectionStatus.CREATE_IN_PROGRESS)
    world.repositories.create_collection(new)
    world.deliver(world.put("library/new/a.txt", "one"))
    (job,) = world.jobs()
    assert job.status is JobStatus.INGESTION_PENDING
    world.repositories.set_status(new, CollectionStatus.ACTIVE, now=1)
    world.settle()
    assert world.texts("library/new/a.txt", "new") == ["one"]


def test_an_uploads_document_is_its_owners_with_what_was_asked_for(world):
    key = naming.upload_key("ann", "a.txt")
    world.s3.put_object(Bucket=BUCKET, Key=key, Body=b"one")
    _, (job,) = world.service.ingest(
        ANN, "library", "c-1", [Upload(key)], tags=["t"], attributes={"year": 2024}
    )
    world.deliver(world.copied(job))
    (document,) = world.service.documents(ANN, "library", "c-1").documents
    assert (document.owner, document.tags, document.attributes) == ("ann", ("t",), {"year": 2024})
    assert document.source == job.source
    assert world.stores.jobs.get(job.id).status is JobStatus.INGESTION_COMPLETED
    assert world.service.fields("library", "c-1") == {"year": {"number"}}
    stored = world.chunks.indices[world.index()][document.id][0]
    assert (stored.owner, stored.attributes) == ("ann", {"year": 2024})


def test_a_deleted_document_takes_its_file_with_it_and_stays_away(world):
    created = world.put(KEY, "one")
    world.deliver(created)
    (document,) = world.service.documents(ANN, "library", "c-1").documents
    from tests.unit.rag.people import ADMIN

    (job,) = world.service.delete(ADMIN, "library", [document.id])
    world.settle()
    assert world.texts(KEY) == []
    assert world.stores.jobs.get(job.id).status is JobStatus.DELETE_COMPLETED
    assert "Contents" not in world.s3.list_objects_v2(Bucket=BUCKET, Prefix="library/")
    # S3 tells of the removal, and the first event comes once more
    world.deliver(world.event("Object Deleted", KEY))
    world.deliver(created)
    assert world.texts(KEY) == []
    assert world.count() == (0, 0, 0, 0)
    # What comes back stays
    world.deliver(world.put(KEY, "again"))
    assert world.texts(KEY) == ["again"]


def test_a_file_that_is_changed_while_it_is_to_be_deleted_stays(world):
    from tests.unit.rag.people import ADMIN

    world.deliver(world.put(KEY, "one"))
    (document,) = world.service.documents(ANN, "library", "c-1").documents
    world.service.delete(ADMIN, "library", [document.id])
    newer = world.put(KEY, "two")
    world.settle()
    world.deliver(newer)
    world.settle()
    assert world.texts(KEY) == ["two"]
    assert world.s3.get_object(Bucket=BUCKET, Key=KEY)["Body"].read() == b"two"


def test_other_attributes_reach_the_store_without_embedding_again(world):
    key = naming.upload_key("ann", "a.txt")
    world.s3.put_object(Bucket=BUCKET, Key=key, Body=b"one")
    _, (job,) = world.service.ingest(ANN, "library", "c-1", [Upload(key)], attributes={"year": 2024})
    world.deliver(world.copied(job))
    world.service.set_attributes(ANN, "library", job.document_id, {"year": 2025, "draft": True})
    world.settle()
    assert world.model.asked == ["one"]
    stored = world.chunks.indices[world.index()][job.document_id][0]
    assert stored.attributes == {"year": 2025, "draft": True}
    assert world.service.get(ANN, "library", job.document_id).attributes == stored.attributes
    assert world.service.fields("library", "c-1") == {"year": {"number"}, "draft": {"boolean"}}


def test_a_file_that_failed_can_be_deleted(world):
    key = naming.upload_key("ann", "a.txt")
    world.s3.put_object(Bucket=BUCKET, Key=key, Body=b"POISON")
    _, (job,) = world.service.ingest(ANN, "library", "c-1", [Upload(key)])
    world.deliver(world.copied(job))
    assert world.count()[3] == 1
    states, _ = world.stores.objects.of_collection("library", "c-1")
    assert [(state.failed, state.job_id) for state in states] == [(True, job.id)]
    world.service.delete(ANN, "library", [job.document_id])
    world.settle()
    assert world.count() == (0, 0, 0, 0)
    assert world.stores.objects.of_collection("library", "c-1") == ([], None)
    assert "Contents" not in world.s3.list_objects_v2(Bucket=BUCKET, Prefix="library/")


# --- Long files


def test_a_file_that_takes_long_has_an_execution_of_its_own(world):
    world.deliver(world.put(KEY, "SLOW\nbut sure"), world.put("library/c-1/b.txt", "quick"))
    assert world.texts("library/c-1/b.txt") == ["quick"]
    assert len(world.long_running) == len(world.slots.taken()) == 1
    world.run_long()
    assert world.texts(KEY) == ["SLOW", "but sure"]
    assert world.slots.taken() == []
    assert world.open() == []


def test_without_a_slot_long_files_wait_in_the_queue(world):
    for number in range(3):
        world.deliver(world.put(f"library/c-1/{number}.txt", "SLOW"))
    assert len(world.long_running) == 1
    world.settle()
    assert world.count()[0] == 3
    assert world.slots.taken() == []


def test_many_chunks_are_a_long_file(world):
    text = "\n".join(f"line {number}" for number in range(2000))
    world.deliver(world.put(KEY, text))
    assert world.texts(KEY) == []
    world.run_long()
    assert len(world.texts(KEY)) == 2000
    (job,) = world.jobs()
    assert (job.chunks_done, job.chunks_total) == (2000, 2000)


def test_what_comes_late_does_not_bring_back_the_index_of_a_collection_that_goes(world):
    embed = world.embed

    def embed_late(*args):
        going = world.repositories.collection("library", "c-1")
        world.repositories.set_status(going, CollectionStatus.DELETE_IN_PROGRESS, "", now=1)
        world.chunks.drop(world.index())
        return embed(*args)

    world.embed = embed_late
    world.deliver(world.put(KEY, "one"))
    assert world.index() not in world.chunks.indices
    (job,) = world.jobs()
    assert job.status is JobStatus.INGESTION_FAILED
    assert "takes no documents" in job.reason


def test_a_document_says_what_of_its_file_could_not_be_read(world):
    world.files.notes = ("Page 2 is a picture: run text recognition (OCR) on it.", "x" * 1000)
    world.deliver(world.put(KEY, "one"))
    world.deliver(world.put(KEY, "one"))  # the same again is not read again
    (document,) = world.service.documents(ANN, "library", "c-1").documents
    assert document.notes == (world.files.notes[0], "x" * 300)
    assert world.files.read_files == ["a.txt"]
    world.files.notes = ()
    world.deliver(world.put(KEY, "two"))
    (document,) = world.service.documents(ANN, "library", "c-1").documents
    assert document.notes == ()


def test_another_buckets_files_are_nobodys_upload(world):
    key = "home/~ann/notes.txt"
    event = {
        "detail-type": "Object Created",
        "detail": {"bucket": {"name": "another"}, "object": {"key": key, "sequencer": "01"}},
    }
    assert not request_of(json.dumps(event), BUCKET).interactive
    event["detail"]["bucket"]["name"] = BUCKET
    assert request_of(json.dumps(event), BUCKET).interactive


def test_documents_are_written_together_where_their_store_wants_it(world):
    keys = [f"library/c-1/{number}.txt" for number in range(3)]
    world.chunks.indices[world.index()] = {}
    world.chunks.writers = 3
    world.chunks.writing = Barrier(3, timeout=10).wait  # none goes on before all have come
    world.deliver(*(world.put(key, f"one of {key}\ntwo of {key}") for key in keys))
    assert [world.texts(key) for key in keys] == [[f"one of {key}", f"two of {key}"] for key in keys]
    assert statuses(world) == [JobStatus.INGESTION_COMPLETED] * 3


# --- Messages


def test_a_message_that_nobody_understands_comes_back_until_it_is_a_dead_letter(world):
    good = world.put(KEY, "one")
    from lisa.rag.ingestion.dispatch import Message

    failed = world.dispatch(
        [Message("bad", "{"), Message("odd", '{"detail": {}}'), Message("good", json.dumps(good))]
    )
    assert failed == ["bad", "odd"]
    assert world.texts(KEY) == ["one"]


def test_what_is_tried_again_of_an_upload_does_not_queue_up_behind_what_was_dropped(world):
    upload = naming.drop_key("library", "c-1", "ann", "mine.txt")
    world.model.away = True
    world.deliver(world.put(KEY, "one"), world.put(upload, "two"))
    (waiting,) = world.waiting("interactive")
    assert json.loads(waiting)["request"]["document_id"] == naming.document_id(BUCKET, upload)
    (waiting,) = world.waiting("work")
    assert json.loads(waiting)["request"]["document_id"] == naming.document_id(BUCKET, KEY)


# --- What may pass by itself


@pytest.mark.parametrize("away", ["model", "chunks"])
def test_while_the_model_or_the_store_is_away_work_waits_and_then_is_done_once(world, away):
    part = getattr(world, away)
    part.away = True
    world.deliver(world.put(KEY, "one\ntwo"), world.put("library/c-1/b.txt", "three"))
    for _ in range(5):
        bodies = world.waiting()
        from lisa.rag.ingestion.dispatch import Message

        assert len(bodies) == 2
        world.dispatch([Message(f"q-{n}", body) for n, body in enumerate(bodies)])
    assert statuses(world) == [JobStatus.INGESTION_PENDING] * 2
    assert all("tried again" in job.reason and job.attempts == 6 for job in world.jobs())
    part.away = False
    world.settle()
    assert world.texts(KEY) == ["one", "two"]
    assert world.texts("library/c-1/b.txt") == ["three"]
    assert world.count() == (2, 3, 12, 0)
    assert statuses(world) == [JobStatus.INGESTION_COMPLETED] * 2


@pytest.mark.parametrize("away", ["model", "chunks"])
def test_what_does_not_come_back_ends_failed_with_the_reason_and_can_be_tried_again(world, away):
    from tests.unit.rag.people import ADMIN

    part = getattr(world, away)
    part.away = True
    world.deliver(world.put(KEY, "one"))
    world.settle()
    (job,) = world.jobs()
    assert job.status is JobStatus.INGESTION_FAILED
    assert f"tried {MAX_ATTEMPTS} times" in job.reason
    assert world.open() == []
    part.away = False
    world.service.redrive(ADMIN, "library", job.id)
    world.settle()
    assert world.texts(KEY) == ["one"]
    assert world.count() == (1, 1, 3, 0)


def test_delays_grow_and_stay_within_a_minute():
    from lisa.rag.ingestion.commit import delay_after

    assert all(1 <= delay_after(n) <= 60 for n in range(100))
    assert max(delay_after(1) for _ in range(50)) <= 2
    assert min(delay_after(12) for _ in range(50)) >= 30


@pytest.mark.parametrize("step", ["check", "parse", "embed", "store", "commit"])
def test_a_step_that_keeps_failing_ends_its_documents_failed_and_nothing_else(world, step):
    world.broken = {step}
    failed = world.deliver(world.put(KEY, "one"))
    for _ in range(60):
        world.clock.now += 600
        bodies = world.waiting()
        from lisa.rag.ingestion.dispatch import Message

        failed += world.dispatch([Message(f"q-{n}", body) for n, body in enumerate(bodies)])
        world.reconcile()
        if not world.open() and not bodies:
            break
    if step == "check":
        assert failed  # it is left to the dead letters: nothing was begun
        assert world.open() == []
        return
    (job,) = world.jobs()
    assert job.status is JobStatus.INGESTION_FAILED
    assert world.open() == []
    assert world.count()[3] == 1
