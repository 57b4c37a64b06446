from itertools import permutations

from lisa import dynamo
from lisa.rag.documents import naming, rows
from lisa.rag.documents.objects import Kind, Wishes

from tests.unit.rag.documents.bodies import change


def test_the_first_of_a_version_is_taken_and_the_same_goes_on(stores, clock):
    first = stores.objects.take(change(), now=clock.ms)
    again = stores.objects.take(change(), now=clock.ms)
    assert first.state == again.state
    assert first.state.job_id == naming.job_id(first.state.document_id, naming.sequencer("01"))


def test_a_version_that_is_done_is_not_begun_again(stores, dynamodb, clock):
    taken = stores.objects.take(change(), now=clock.ms).state
    assert dynamo.transact(dynamodb, [stores.objects.close(taken.document_id, taken.sequencer)])
    assert stores.objects.take(change(), now=clock.ms).state is None
    assert list(stores.objects.open_since(clock.ms + 1)) == []


def test_in_whatever_order_events_come_the_newest_stays(stores, clock):
    for number, order in enumerate(permutations(["01", "02", "03"])):
        key = f"library/c-1/{number}"
        for each in order:
            kind = Kind.REMOVED if each == "03" else Kind.CREATED
            stores.objects.take(change(each, kind, key=key), now=clock.ms)
        state = stores.objects.get(naming.document_id("drop", key))
        assert (state.sequencer, state.kind) == (naming.sequencer("03"), Kind.REMOVED)


def test_an_older_version_says_so(stores, clock):
    stores.objects.take(change("02"), now=clock.ms)
    taken = stores.objects.take(change("01"), now=clock.ms)
    assert taken.older
    assert taken.state is None


def test_an_uploads_event_belongs_to_its_job_and_the_next_one_to_another(stores, dynamodb, clock):
    # Given
    wishes = Wishes(owner="ann", tags=("a",), attributes={"year": 2024, "ok": True})
    dynamo.transact(dynamodb, [stores.objects.expect(change(), "job-1", wishes, now=clock.ms)])

    # When
    first = stores.objects.take(change("01"), now=clock.ms).state
    retried = stores.objects.take(change("01"), now=clock.ms).state
    second = stores.objects.take(change("02"), now=clock.ms).state

    # Then
    assert (first.job_id, retried.job_id) == ("job-1", "job-1")
    assert second.job_id == naming.job_id(second.document_id, naming.sequencer("02"))
    assert first.wishes == second.wishes == wishes


def test_the_removal_of_an_older_file_leaves_the_uploads_job_to_its_own_event(stores, dynamodb, clock):
    dynamo.transact(dynamodb, [stores.objects.expect(change(), "job-1", Wishes(owner="ann"), now=clock.ms)])
    assert stores.objects.take(change("01", Kind.REMOVED), now=clock.ms).state.job_id != "job-1"
    assert stores.objects.take(change("02"), now=clock.ms).state.job_id == "job-1"


def test_what_is_not_settled_is_found_by_its_age(stores, clock):
    old = stores.objects.take(change(key="library/c-1/old"), now=clock.ms).state
    stores.objects.take(change(key="library/c-1/new"), now=clock.ms + 5000)
    assert [each.document_id for each in stores.objects.open_since(clock.ms + 1000)] == [old.document_id]


def test_a_version_is_not_closed_once_a_newer_one_is_known(stores, dynamodb, clock):
    taken = stores.objects.take(change("01"), now=clock.ms).state
    stores.objects.take(change("02"), now=clock.ms)
    assert not dynamo.transact(dynamodb, [stores.objects.close(taken.document_id, taken.sequencer)])


def test_a_removed_object_is_forgotten_in_time(stores, dynamodb, clock):
    taken = stores.objects.take(change("01", Kind.REMOVED), now=clock.ms).state
    dynamo.transact(dynamodb, [stores.objects.close(taken.document_id, taken.sequencer, forget_at=77)])
    item = dynamodb.get_item(TableName="documents", Key=rows.object_key(taken.document_id))["Item"]
    assert item["expiresAt"] == {"N": "77"}
    # What comes back stays.
    stores.objects.take(change("02"), now=clock.ms)
    item = dynamodb.get_item(TableName="documents", Key=rows.object_key(taken.document_id))["Item"]
    assert "expiresAt" not in item
