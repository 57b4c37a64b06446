from lisa.models.dispatch import Dispatcher

from tests.unit.models.bodies import record
from tests.unit.models.fakes import FakeExecutions


def image(generation: int = 7, attempt: int = 1, pk: str = "MODEL") -> dict[str, object]:
    return {"pk": pk, "sk": "m1", "generation": generation, "attempt": attempt}


def test_a_new_row_starts_its_workflow(models):
    executions = FakeExecutions()
    models.create(record())
    Dispatcher(models, executions)({}, image())
    assert executions.started == [("m1", 7, 1)]


def test_a_new_wish_and_a_new_attempt_start_theirs(models):
    # Given
    executions = FakeExecutions()
    models.create(record())

    # When
    again = models.try_again(models.get("m1"), now=1, deadline=2)
    Dispatcher(models, executions)(image(), image(attempt=2))
    models.want_absent(again, now=1, deadline=2)
    Dispatcher(models, executions)(image(attempt=2), image(generation=8))

    # Then
    assert executions.started == [("m1", 7, 2), ("m1", 8, 1)]


def test_a_change_of_status_starts_nothing(models):
    executions = FakeExecutions()
    models.create(record())
    Dispatcher(models, executions)(image(), image())
    assert executions.started == []


def test_a_record_that_comes_late_starts_what_the_row_says_now(models):
    # Given
    executions = FakeExecutions()
    models.create(record())
    models.want_absent(models.get("m1"), now=1, deadline=2)

    # When the record of the create comes after the delete
    Dispatcher(models, executions)({}, image())

    # Then
    assert executions.started == [("m1", 8, 1)]


def test_a_record_of_a_settled_or_forgotten_row_starts_nothing(models):
    executions = FakeExecutions()
    Dispatcher(models, executions)({}, image())
    models.create(record(status="InService"))
    Dispatcher(models, executions)({}, image())
    Dispatcher(models, executions)(image(), {})
    assert executions.started == []


def test_rows_of_other_kinds_start_nothing(models):
    executions = FakeExecutions()
    models.create(record())
    Dispatcher(models, executions)({}, image(pk="ROUTE"))
    assert executions.started == []
