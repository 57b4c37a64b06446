import time

import pytest
from lisa import aws as clients
from lisa.models.reconcile import KEY_SECONDS, MAX_ATTEMPTS, SETTLE_SECONDS, Reconciler
from lisa.models.routes import HostedTarget, Route
from lisa.models.secrets import ProviderKeys
from lisa.models.stacks import StackView
from lisa.settings import Settings

from tests.unit.models.bodies import external, hosted, record
from tests.unit.models.fakes import FakeExecutions, FakeStacks

SETTINGS = Settings(model_start_timeout=600)


@pytest.fixture
def keys(aws):
    return ProviderKeys("lisa", clients.secrets_manager())


@pytest.fixture
def reconcile(models, routes, clock, keys):
    def run(state="unknown", error=None, stacks=None):
        executions = FakeExecutions(answer=(state, error))
        return Reconciler(
            SETTINGS, models, executions, stacks or FakeStacks(), routes, keys, clock=clock
        )().as_dict()

    return run


def add(models, clock, *, age=120, left=600, **changes):
    now = int(clock())
    body = changes.pop("body", external())
    models.create(record(body, updated_at=now - age, created_at=now - age, deadline=now + left, **changes))


@pytest.mark.parametrize("state", ["unknown", "failed", "succeeded"])
@pytest.mark.parametrize(("status", "desired"), [("Creating", "present"), ("Deleting", "absent")])
def test_a_lost_execution_is_started_again(reconcile, models, clock, state, status, desired):
    # Given
    add(models, clock, status=status, desired=desired)

    # When
    report = reconcile(state, "States.ServiceRestart")

    # Then
    assert report["retried"] == ["m1"]
    assert models.get("m1").attempt == 2
    assert models.get("m1").generation == 7


def test_a_running_workflow_within_its_time_is_left_alone(reconcile, models, clock):
    add(models, clock)
    assert reconcile("running")["retried"] == []
    assert models.get("m1").attempt == 1


def test_a_workflow_past_its_deadline_is_replaced(reconcile, models, clock):
    add(models, clock, left=-1, body=hosted())
    assert reconcile("running")["retried"] == ["h1"]
    assert models.get("h1").deadline > clock() + 600


def test_a_row_just_written_has_its_moment(reconcile, models, clock):
    add(models, clock, age=SETTLE_SECONDS - 1)
    assert reconcile("unknown")["retried"] == []


@pytest.mark.parametrize("status", ["InService", "Failed", "Stopped"])
def test_a_settled_row_is_not_looked_at(reconcile, models, clock, status):
    add(models, clock, status=status, left=-1)
    assert reconcile("unknown") == {"retried": [], "gave_up": [], "orphans": [], "keys": [], "failed": []}


def test_after_the_last_attempt_the_row_says_why(reconcile, models, clock):
    # Given
    add(models, clock, attempt=MAX_ATTEMPTS)

    # When
    report = reconcile("failed", "States.Runtime")

    # Then
    assert report["gave_up"] == ["m1"]
    assert models.get("m1").status == "Failed"
    assert "States.Runtime" in models.get("m1").reason


def test_a_model_that_was_given_up_costs_nothing_and_takes_no_calls(reconcile, models, routes, clock):
    # Given
    add(models, clock, attempt=MAX_ATTEMPTS, body=hosted())
    target = HostedTarget("vllm", "http://alb", "h.models.internal")
    routes.put(Route("h1", "org/weights", "textgen", "chat", "lisa_hosted", "starting", target))
    stacks = FakeStacks({"h1": StackView("ready")})

    # When
    reconcile("failed", stacks=stacks)

    # Then
    assert stacks.deleted == ["h1"]
    assert routes.routes()[1] == []


def test_every_row_is_settled_in_the_end(reconcile, models, clock):
    add(models, clock)
    for _ in range(MAX_ATTEMPTS + 1):
        reconcile("unknown")
        clock.now += 3600
    assert models.get("m1").status == "Failed"


def test_a_stack_without_a_model_is_removed(reconcile, models, clock):
    # Given
    add(models, clock, body=hosted())
    stacks = FakeStacks({"h1": StackView("working"), "forgotten": StackView("ready")})

    # When
    report = reconcile("running", stacks=stacks)

    # Then
    assert report["orphans"] == ["forgotten"]
    assert stacks.deleted == ["forgotten"]


def test_trouble_with_one_model_keeps_nobody_from_the_others(reconcile, models, clock):
    # Given a stack that cannot be removed, before one that can
    class Stubborn(FakeStacks):
        def models_with_stack(self):
            return ["stubborn", "forgotten"]

        def delete(self, model_id):
            if model_id == "stubborn":
                raise ConnectionError("no answer")

    # When
    report = reconcile("unknown", stacks=Stubborn())
    # Then
    assert report["failed"] == ["stubborn"]
    assert report["orphans"] == ["forgotten"]


def test_a_key_that_no_row_names_is_forgotten(reconcile, models, clock, keys):
    # Given a key in use, one whose create lost against another, one without a row, and one that is not ours
    used, lost, alone = keys.keep("m1", "k1"), keys.keep("m1", "k2"), keys.keep("m2", "k3")
    other = ProviderKeys("other", clients.secrets_manager()).keep("m3", "k4")
    add(models, clock, status="InService", secret_arn=used)
    clock.now = time.time() + KEY_SECONDS

    # When
    report = reconcile()

    # Then
    assert sorted(report["keys"]) == ["m1", "m2"]
    left = {secret["ARN"] for secret in clients.secrets_manager().list_secrets()["SecretList"]}
    assert left == {used, other}
    assert not {lost, alone} & left


def test_a_key_just_stored_has_its_moment(reconcile, clock, keys):
    keys.keep("m1", "k1")
    clock.now = time.time() + KEY_SECONDS - 60
    assert reconcile()["keys"] == []
    assert len(clients.secrets_manager().list_secrets()["SecretList"]) == 1
