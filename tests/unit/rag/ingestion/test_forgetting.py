from lisa.rag.documents import naming
from lisa.rag.documents.forget import Forgetter
from lisa.rag.documents.service import Upload

from tests.unit.rag.ingestion.conftest import ANN, BUCKET, TABLE


def test_a_collection_is_forgotten_page_by_page_and_its_neighbour_is_not(world):
    forgetter = Forgetter(TABLE, world.client, world.stores, world.s3, BUCKET)
    for number in range(5):
        world.deliver(world.put(f"library/c-1/{number}.txt", "one"))
    world.deliver(world.put("library/keep.txt", "two"), world.put("library/c-1/bad.txt", "POISON"))
    rounds = 0
    while not forgetter.forget_collection("library", "c-1", limit=2):
        rounds += 1
    assert rounds == 3
    assert world.count() == (0, 0, 0, 0)
    assert world.stores.objects.of_collection("library", "c-1") == ([], None)
    listed = world.s3.list_objects_v2(Bucket=BUCKET, Prefix="library/")["Contents"]
    assert [each["Key"] for each in listed] == ["library/keep.txt"]
    assert world.count("mini") == (1, 1, 3, 0)
    # The files' ends, of which S3 tells, make nothing new
    world.deliver(*(world.event("Object Deleted", f"library/c-1/{number}.txt") for number in range(5)))
    assert world.open() == []
    assert world.stores.objects.of_collection("library", "c-1") == ([], None)


def test_jobs_go_with_their_repository(world):
    forgetter = Forgetter(TABLE, world.client, world.stores, world.s3, BUCKET)
    key = naming.upload_key("ann", "a.txt")
    world.s3.put_object(Bucket=BUCKET, Key=key, Body=b"one")
    world.service.ingest(ANN, "library", "c-1", [Upload(key)])
    assert not forgetter.forget_repository("library")
    assert forgetter.forget_repository("library")
    assert world.jobs() == []
