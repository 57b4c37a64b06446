"""The process ends at every step, between any two effects on the outside; what comes again makes it whole."""

import pytest
from lisa.rag.documents import naming
from lisa.rag.documents.service import Upload
from lisa.rag.records import JobStatus

from tests.unit.rag.ingestion.conftest import ANN, BUCKET, World
from tests.unit.rag.ingestion.fakes import Crash
from tests.unit.rag.people import ADMIN

KEY, OTHER_KEY = "library/c-1/a.txt", "library/c-1/b.txt"


def survive(world: World, event: dict) -> None:
    """What SQS and the reconciler do after a crash: the message comes again, and what is open is asked for."""
    world.chaos.at = None
    world.build()
    for _ in range(3):
        world.deliver(event)
        world.settle()
        world.clock.now += 3600 + 600
        world.reconcile()
        world.settle()


def steps(world: World, work) -> int:
    """How many effects the work has when nothing ends it."""
    before = world.chaos.count
    work()
    return world.chaos.count - before


def crashes(world: World, at: int, after: bool, work) -> None:
    world.chaos.count, world.chaos.at, world.chaos.after = 0, at, after
    with pytest.raises(Crash):
        work()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_new_file_is_there_once(world, after):
    world.deliver(world.put("library/c-1/first.txt", "one\ntwo"))  # makes the index
    undisturbed = world.put("library/c-1/0.txt", "one\ntwo")
    total = steps(world, lambda: world.deliver(undisturbed))
    assert total > 5
    for at in range(1, total + 1):
        key = f"library/c-1/{at}-{after}.txt"
        event = world.put(key, "one\ntwo")
        crashes(world, at, after, lambda event=event: world.deliver(event))
        survive(world, event)
        assert world.texts(key) == ["one", "two"], at
    assert world.count() == (total + 2, 2 * (total + 2), 7 * (total + 2), 0)
    assert {job.status for job in world.jobs()} == {JobStatus.INGESTION_COMPLETED}
    assert len(world.jobs()) == total + 2
    assert world.open() == []


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_of_a_changed_file_one_version_is_there_whole(world, after):
    world.deliver(world.put("library/c-1/0.txt", "old\nversion"))
    undisturbed = world.put("library/c-1/0.txt", "new\nversion\nlonger")
    total = steps(world, lambda: world.deliver(undisturbed))
    for at in range(1, total + 1):
        key = f"library/c-1/{at}.txt"
        world.deliver(world.put(key, "old\nversion"))
        event = world.put(key, "new\nversion\nlonger")
        crashes(world, at, after, lambda event=event: world.deliver(event))
        assert world.texts(key) in (["old", "version"], ["new", "version", "longer"])
        survive(world, event)
        assert world.texts(key) == ["new", "version", "longer"], at
    assert world.count() == (total + 1, 3 * (total + 1), 18 * (total + 1), 0)
    assert world.open() == []


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_removed_file_is_gone(world, after):
    total = 5
    for at in range(1, total + 1):
        key = f"library/c-1/{at}.txt"
        world.deliver(world.put(key, "one"))
        event = world.remove(key)
        crashes(world, at, after, lambda event=event: world.deliver(event))
        survive(world, event)
        assert world.texts(key) == [], at
    assert world.count() == (0, 0, 0, 0)
    assert world.open() == []


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_an_upload_ends_as_a_document_or_failed(world, after):
    """Between the announcement and the copy too: then there is no event, and only the reconciler is left."""
    for at in (1, 2):
        key = naming.upload_key("ann", f"{at}.txt")
        world.s3.put_object(Bucket=BUCKET, Key=key, Body=b"one")
        real = world.s3.copy_object
        if at == 2:  # the copy is the second effect
            world.service._uploads._client.__dict__["_verbs"] = frozenset({"copy_object"})
            crashes(
                world, 2, after,
                lambda key=key: world.service.ingest(ANN, "library", "c-1", [Upload(key)]),
            )  # fmt: skip
        else:
            crashes(
                world, 1, after,
                lambda key=key: world.service.ingest(ANN, "library", "c-1", [Upload(key)]),
            )  # fmt: skip
        assert real is not None
        world.chaos.at = None
        world.build()
        for _ in range(3):
            world.clock.now += 3600 + 600
            world.reconcile()
            world.settle()
    assert world.open() == []
    assert {job.status for job in world.jobs()} <= {
        JobStatus.INGESTION_COMPLETED,
        JobStatus.INGESTION_FAILED,
    }


def test_a_delete_by_people_is_finished_whatever_ends_it(world):
    total = 6
    for at in range(1, total + 1):
        key = f"library/c-1/{at}.txt"
        world.deliver(world.put(key, "one"))
        document_id = naming.document_id(BUCKET, key)
        world.service.delete(ADMIN, "library", [document_id])
        (body,) = world.waiting()
        import json

        crashes(world, at, False, lambda body=body: world.deliver(json.loads(body)))
        survive(world, json.loads(body))
        assert world.texts(key) == [], at
    assert world.count() == (0, 0, 0, 0)
    assert world.open() == []
    listed = world.s3.list_objects_v2(Bucket=BUCKET, Prefix="library/")
    assert listed["KeyCount"] == 0


def test_a_long_execution_that_is_stopped_gives_back_its_slot_and_is_done_again(world):
    import json

    world.deliver(world.put(KEY, "SLOW\nand long"))
    ((name, state),) = world.long_running.items()
    world.long_running.clear()
    world.reconcile.ended_badly({"name": name, "input": json.dumps(state), "status": "ABORTED"})
    assert world.slots.taken() == []
    world.settle()
    assert world.texts(KEY) == ["SLOW", "and long"]
    assert world.slots.taken() == []


def test_a_slot_whose_execution_was_lost_without_a_word_is_given_back(world):
    world.deliver(world.put(KEY, "SLOW"))
    world.long_running.clear()
    world.reconcile()
    assert len(world.slots.taken()) == 1  # it may be about to start
    world.clock.now += 6 * 60
    world.reconcile()
    assert world.slots.taken() == []
    world.clock.now += 2 * 3600
    world.reconcile()
    world.settle()
    assert world.texts(KEY) == ["SLOW"]
