import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from lisa.events import MODEL_STATUS_CHANGED, SOURCE
from lisa.models.dispatch import Dispatcher

from tests.unit.models.bodies import record
from tests.unit.models.fakes import FakeEvents, FakeExecutions

AT = 1_700_000_000.5
SCHEMA = json.loads(
    (Path(__file__).parents[3] / "events" / "model_status_changed.v1.schema.json").read_text()
)


def image(
    generation: int = 7,
    attempt: int = 1,
    status: str = "Creating",
    pk: str = "MODEL",
    reason: str | None = None,
) -> dict[str, Any]:
    return {
        "pk": pk, "sk": "m1", "generation": generation, "attempt": attempt, "status": status, "reason": reason,
    }  # fmt: skip


@pytest.fixture
def executions():
    return FakeExecutions()


@pytest.fixture
def events():
    return FakeEvents()


@pytest.fixture
def dispatch(models, executions, events):
    dispatcher = Dispatcher(models, executions, events)
    return lambda old, new: dispatcher(old, new, at=AT)


# --- Workflows


def test_a_new_row_starts_its_workflow(dispatch, models, executions):
    models.create(record())
    dispatch({}, image())
    assert executions.started == [("m1", 7, 1)]


def test_a_new_wish_and_a_new_attempt_start_theirs(dispatch, models, executions):
    # Given
    models.create(record())

    # When
    again = models.try_again(models.get("m1"), now=1, deadline=2)
    dispatch(image(), image(attempt=2))
    models.want_absent(again, now=1, deadline=2)
    dispatch(image(attempt=2), image(generation=8, status="Deleting"))

    # Then
    assert executions.started == [("m1", 7, 2), ("m1", 8, 1)]


def test_a_change_of_status_alone_starts_nothing(dispatch, models, executions):
    models.create(record())
    dispatch(image(), image(status="InService"))
    assert executions.started == []


def test_a_record_that_comes_late_starts_what_the_row_says_now(dispatch, models, executions):
    # Given
    models.create(record())
    models.want_absent(models.get("m1"), now=1, deadline=2)

    # When the record of the create comes after the delete
    dispatch({}, image())

    # Then
    assert executions.started == [("m1", 8, 1)]


def test_a_record_of_a_settled_or_forgotten_row_starts_nothing(dispatch, models, executions):
    dispatch({}, image())
    models.create(record(status="InService"))
    dispatch({}, image())
    dispatch(image(), {})
    assert executions.started == []


def test_rows_of_other_kinds_do_nothing(dispatch, models, executions, events):
    models.create(record())
    dispatch({}, image(pk="ROUTE"))
    assert (executions.started, events.said) == ([], [])


# --- Events


@pytest.mark.parametrize(
    ("old", "new", "previous", "status"),
    [
        ({}, image(), None, "Creating"),
        (image(), image(status="InService"), "Creating", "InService"),
        (image(), image(status="Failed", reason="no weights"), "Creating", "Failed"),
        (image(status="InService"), image(generation=8, status="Deleting"), "InService", "Deleting"),
        (image(generation=8, status="Deleting"), {}, "Deleting", "Deleted"),
    ],
)
def test_every_change_of_status_is_said_as_the_schema_has_it(dispatch, events, old, new, previous, status):
    # When
    dispatch(old, new)

    # Then
    assert len(events.said) == 1
    said = events.said[0]
    assert (said["previousStatus"], said["status"]) == (previous, status)
    assert said["reason"] == new.get("reason")
    assert said["at"] == "2023-11-14T22:13:20Z"
    event = {"source": SOURCE, "detail-type": MODEL_STATUS_CHANGED, "detail": {"schemaVersion": "1", **said}}
    jsonschema.validate(event, SCHEMA)


def test_a_change_of_anything_else_is_not_said(dispatch, events):
    dispatch(image(), image(attempt=2))
    assert events.said == []


def test_the_workflow_starts_even_when_the_bus_is_down(dispatch, models, executions, events, monkeypatch):
    # Given
    def down(detail):
        raise ConnectionError("bus")

    monkeypatch.setattr(events, "model_status_changed", down)
    models.create(record())

    # When the record is to be delivered again
    with pytest.raises(ConnectionError):
        dispatch({}, image())

    # Then
    assert executions.started == [("m1", 7, 1)]
