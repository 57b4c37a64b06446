from dataclasses import replace

import pytest
from lisa.errors import Conflict

from tests.unit.models.bodies import EXTERNAL, external, hosted, record


@pytest.mark.parametrize("body", [EXTERNAL, hosted(hostingType="lisa_hosted")])
def test_a_row_comes_back_as_it_was_stored(models, body):
    stored = record(body, secret_arn="arn:secret", reason="why")
    models.create(stored)
    assert models.get(stored.model_id) == stored


def test_a_missing_row_is_none(models):
    assert models.get("nobody") is None


def test_an_id_is_taken_once(models):
    # Given
    models.create(record(created_by="first"))

    # When
    with pytest.raises(Conflict) as raised:
        models.create(record(created_by="second"))

    # Then
    assert raised.value.code == "model_exists"
    assert raised.value.field == "modelId"
    assert models.get("m1").created_by == "first"


def test_ids_that_look_alike_are_different_models(models):
    models.create(record(external(modelId="my-model")))
    models.create(record(external(modelId="mymodel")))
    assert [found.model_id for found in models.page()[0]] == ["my-model", "mymodel"]


def test_pages_follow_one_another_without_gap_or_overlap(models):
    # Given
    ids = [f"m{number:02}" for number in range(7)]
    for model_id in ids:
        models.create(record(external(modelId=model_id)))

    # When
    seen, after, sizes = [], None, []
    while True:
        page, after = models.page(limit=3, after=after)
        seen += [found.model_id for found in page]
        sizes.append(len(page))
        if after is None:
            break

    # Then
    assert seen == ids
    assert sizes == [3, 3, 1]


def test_without_a_limit_a_list_is_complete(models):
    for number in range(300):
        models.create(record(external(modelId=f"m{number:03}", modelDescription="x" * 4096)))
    found, after = models.page()  # more than the 1 MB that one query answers
    assert len(found) == 300
    assert after is None


def test_a_wish_for_absence_is_a_new_generation_with_its_own_attempts(models):
    # Given
    models.create(record(status="InService", attempt=3))

    # When
    wished = models.want_absent(models.get("m1"), now=5000, deadline=6000)

    # Then
    assert wished == models.get("m1")
    assert (wished.desired, wished.status, wished.generation, wished.attempt) == ("absent", "Deleting", 8, 1)
    assert (wished.updated_at, wished.deadline) == (5000, 6000)


def test_a_wish_made_on_an_old_view_changes_nothing(models):
    # Given
    old = record(status="InService")
    models.create(old)
    first = models.want_absent(old, now=5000, deadline=6000)

    # When
    second = models.want_absent(old, now=5001, deadline=6001)

    # Then
    assert second is None
    assert models.get("m1") == first


def test_an_overtaken_workflow_cannot_write_its_status(models):
    # Given
    models.create(record())
    models.want_absent(models.get("m1"), now=5000, deadline=6000)

    # When
    written = models.set_status("m1", 7, "InService", None, now=5001)

    # Then
    assert written is None
    assert models.get("m1").status == "Deleting"


def test_a_status_of_a_row_that_is_gone_does_not_bring_it_back(models):
    assert models.set_status("m1", 7, "Failed", "late", now=1) is None
    assert models.get("m1") is None


def test_a_second_reconciler_does_not_raise_the_attempt_again(models):
    # Given
    seen = record()
    models.create(seen)

    # When
    first = models.try_again(seen, now=10, deadline=20)
    second = models.try_again(seen, now=10, deadline=20)

    # Then
    assert (first.attempt, first.deadline) == (2, 20)
    assert second is None
    assert models.get("m1").attempt == 2


def test_a_row_is_forgotten_by_the_newest_wish_only(models):
    models.create(record())
    models.forget("m1", 6)
    assert models.get("m1") is not None
    models.forget("m1", 7)
    assert models.get("m1") is None
    models.forget("m1", 7)  # twice is as once


def test_rows_of_other_kinds_are_no_models(models, routes, priorities):
    routes.acknowledge("gateway-1", 3)
    priorities.take("m9")
    assert models.page() == ([], None)


def test_a_settled_row_has_no_workflow():
    settled = {"InService", "Stopped", "Failed"}
    for status in (
        "Creating",
        "InService",
        "Starting",
        "Stopping",
        "Stopped",
        "Updating",
        "Deleting",
        "Failed",
    ):
        assert replace(record(), status=status).settled == (status in settled)
