"""Blue and green: a collection is indexed anew and searched all the while."""

import pytest
from lisa.errors import Conflict, InvalidRequest
from lisa.rag.ingestion.reindex import GIVE_UP_AFTER, Reindexing
from lisa.rag.records import Chunking, JobStatus
from lisa.rag.vectors.base import Index

from tests.unit.rag.ingestion.conftest import ANN, BUCKET

WHERE = ("library", "c-1")
NEW = Chunking(size=128, overlap=0)


@pytest.fixture
def reindexing(world):
    return Reindexing(
        world.client, world.repositories, world.stores, world.reindexes, world.queue, clock=world.clock
    )


@pytest.fixture
def begun(world, reindexing):
    """Three documents, and the next generation begun."""
    for number in range(3):
        world.deliver(world.put(f"library/c-1/{number}.txt", f"text {number}\nmore"))
    collection = world.repositories.collection(*WHERE)
    return reindexing.begin(collection, "ann", embedding_model="mini", dimensions=4, chunking=NEW)


def there(world, generation):
    index = world.chunks.indices.get(Index(*WHERE, generation, 4), {})
    return sorted(" ".join(each.chunk.text for each in chunks) for _, chunks in index.values())


def finish(world, reindexing):
    """The workflow from its flip on, as statemachines/collection_reindex.asl.yaml has it."""
    assert reindexing.flip(*WHERE, 2)["outcome"] == "flipped"
    assert reindexing.settle(*WHERE, 2, None)["outcome"] == "fed"
    world.settle()
    world.chunks.drop(Index(*WHERE, 1, 4))
    reindexing.finish(*WHERE, 2)


def test_a_long_file_that_goes_into_both_is_never_held_whole(world, begun):
    world.chunks.writers = 8
    world.deliver(world.put("library/c-1/long.txt", "\n".join(f"line {n}" for n in range(1100))))
    world.chunks.held.clear()
    world.run_long()
    assert len(world.texts("library/c-1/long.txt")) == 1100
    assert world.chunks.held == [False, False]


def test_all_documents_come_into_the_next_generation_while_the_old_one_serves(world, reindexing, begun):
    assert reindexing.look(*WHERE, 2, {})["outcome"] == "waiting"
    assert reindexing.feed(*WHERE, 2, None)["outcome"] == "fed"
    world.settle()
    assert there(world, 1) == there(world, 2) == ["text 0 more", "text 1 more", "text 2 more"]
    assert world.repositories.collection(*WHERE).generation == 1
    assert reindexing.look(*WHERE, 2, {})["outcome"] == "whole"

    finish(world, reindexing)
    collection = world.repositories.collection(*WHERE)
    assert (collection.generation, collection.next_generation, collection.chunking) == (2, 0, NEW)
    assert there(world, 1) == []
    assert {kept.chunking for kept in world.service.documents(ANN, *WHERE).documents} == {NEW}
    assert world.count() == (3, 6, 33, 0)
    job = world.stores.jobs.get(begun.id)
    assert (job.status, job.chunks_done, job.chunks_total) == (JobStatus.INGESTION_COMPLETED, 3, 3)


def test_what_changes_comes_and_goes_meanwhile_is_right_in_both(world, reindexing, begun):
    world.deliver(world.put("library/c-1/0.txt", "changed"))
    world.deliver(world.put("library/c-1/9.txt", "new"))
    world.deliver(world.remove("library/c-1/1.txt"))
    reindexing.feed(*WHERE, 2, None)
    world.settle()
    expected = ["changed", "new", "text 2 more"]
    assert there(world, 1) == there(world, 2) == expected
    finish(world, reindexing)
    world.deliver(world.put("library/c-1/2.txt", "after"))
    assert there(world, 2) == ["after", "changed", "new"]
    assert world.count() == (3, 3, 15, 0)


def test_a_version_that_was_on_its_way_when_it_began_is_fed_afterwards(world, reindexing):
    world.deliver(world.put("library/c-1/0.txt", "old"))
    event = world.put("library/c-1/0.txt", "newer")
    # Given a version that was checked before the next generation was known, and is stored after
    import json

    from lisa.rag.ingestion.dispatch import request_of
    from lisa.rag.ingestion.items import AskedFor, Work

    request = request_of(json.dumps(event), BUCKET)
    work = world.check(Work(work="w", requests=(AskedFor(id="m", **request.model_dump()),)))
    collection = world.repositories.collection(*WHERE)
    reindexing.begin(collection, "ann", embedding_model="mini", dimensions=4, chunking=NEW)
    reindexing.feed(*WHERE, 2, None)
    world.settle()
    world.commit(world.store(world.parse(work), [world.embed("w", b) for b in world.parse(work).batches]))
    world.settle()
    assert there(world, 1) == there(world, 2) == ["newer"]


def test_a_document_that_cannot_be_indexed_so_leaves_the_old_index_in_place(world, reindexing, begun):
    world.s3.delete_object(Bucket="drop", Key="library/c-1/0.txt")
    reindexing.feed(*WHERE, 2, None)
    world.settle()
    seen = reindexing.look(*WHERE, 2, {})
    assert seen["outcome"] == "refused"
    assert "0.txt" in seen["reason"]
    reindexing.abandon(*WHERE, 2, seen["reason"])
    world.chunks.drop(Index(*WHERE, 2, 4))
    assert world.repositories.collection(*WHERE).next_generation == 0
    assert there(world, 1) == ["text 0 more", "text 1 more", "text 2 more"]
    assert world.stores.jobs.get(begun.id).status is JobStatus.INGESTION_FAILED
    # What was still on its way for it does not make the dropped index again, and the next try has a new number
    reindexing.feed(*WHERE, 2, None)
    world.settle()
    assert there(world, 2) == []
    collection = world.repositories.collection(*WHERE)
    reindexing.begin(collection, "ann", embedding_model="mini", dimensions=4, chunking=NEW)
    assert world.repositories.collection(*WHERE).next_generation == 3


def test_without_a_step_forward_documents_are_asked_for_again_and_given_up_in_time(world, reindexing, begun):
    seen: dict = {}
    outcomes = []
    for _ in range(GIVE_UP_AFTER + 1):
        seen = reindexing.look(*WHERE, 2, seen)
        outcomes.append(seen["outcome"])
    assert "again" in outcomes
    assert outcomes[-1] == "refused"


def test_one_at_a_time_and_not_for_nothing(world, reindexing, begun):
    collection = world.repositories.collection(*WHERE)
    with pytest.raises(Conflict):
        reindexing.begin(collection, "ann", embedding_model="mini", dimensions=4, chunking=Chunking(size=99))
    other = world.repositories.collection("library", "mini")
    with pytest.raises(InvalidRequest):
        reindexing.begin(other, "ann", embedding_model="mini", dimensions=4, chunking=other.chunking)
