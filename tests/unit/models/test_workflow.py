import pytest
from lisa.models.naming import short_name
from lisa.models.record import WORKFLOW_MARGIN
from lisa.models.routes import HostedTarget, ProviderTarget
from lisa.models.stacks import StackView
from lisa.models.workflow import (
    ACKNOWLEDGE_SECONDS,
    REMOVAL_TRIES,
    SUPERSEDED,
    AwaitGateways,
    CheckModel,
    CreateStack,
    DeleteStack,
    ObserveModel,
    ProbeModel,
    RecordStatus,
    RouteModel,
    Wish,
)
from lisa.settings import Settings

from tests.unit.models.bodies import external, hosted, record
from tests.unit.models.fakes import FakeKeys, FakeStacks, FakeTasks, FakeWeights

SETTINGS = Settings(
    deployment="lisa", models_url="http://alb:8088", cluster="lisa", capacity="local", model_start_timeout=600
)
EXTERNAL, HOSTED = Wish("m1", 7, 1), Wish("h1", 7, 1)
STALE = [Wish("h1", 6, 1), Wish("h1", 8, 1), Wish("h1", 7, 2), Wish("nobody", 7, 1)]


@pytest.fixture
def rows(models, clock):
    """The external model m1 and the hosted model h1, both being created since now."""
    deadline = int(clock()) + 600 + WORKFLOW_MARGIN
    models.create(record(external(apiKey="k"), deadline=deadline, secret_arn="arn:secret"))
    models.create(record(hosted(allowedGroups=["team-a"], contextWindow=512), deadline=deadline))
    return models


def test_a_workflow_knows_its_wish_from_its_input():
    assert Wish.of({"modelId": "m1", "generation": 7, "attempt": 2, "more": 1}) == Wish("m1", 7, 2)


# --- Check model


def test_a_hosted_model_with_weights_may_be_built(rows):
    assert CheckModel(rows, FakeWeights())(HOSTED) == {"outcome": "hosted"}


def test_missing_weights_fail_at_once_with_the_reason(rows):
    outcome = CheckModel(rows, FakeWeights("There are no weights at s3://w/x/"))(HOSTED)
    assert outcome == {"outcome": "failed", "reason": "There are no weights at s3://w/x/"}


def test_an_external_model_needs_no_weights(rows):
    assert CheckModel(rows, FakeWeights("none"))(EXTERNAL) == {"outcome": "external"}


@pytest.mark.parametrize("wish", STALE)
def test_a_step_of_an_overtaken_workflow_does_nothing(rows, routes, priorities, clock, wish):
    # Given
    stacks, keys = FakeStacks(), FakeKeys()
    before = rows.page()

    # When
    outcomes = [
        CheckModel(rows, FakeWeights())(wish),
        RouteModel(SETTINGS, rows, routes)(wish, "active"),
        RouteModel(SETTINGS, rows, routes)(wish, "withdrawn"),
        CreateStack(rows, FakeWeights(), priorities, stacks)(wish),
        ObserveModel(SETTINGS, rows, stacks, FakeTasks("gone"), clock=clock)(wish),
        DeleteStack(rows, stacks, priorities)(wish, 0),
        RecordStatus(rows, keys, clock=clock)(wish, "Failed", "no"),
    ]

    # Then
    assert outcomes == [SUPERSEDED] * len(outcomes)
    assert (stacks.created, stacks.deleted, keys.forgotten) == ([], [], [])
    assert routes.version() == 0
    assert rows.page() == before


# --- Announce, activate, withdraw route


def test_a_hosted_models_route_leads_to_the_load_balancer(rows, routes):
    # When
    outcome = RouteModel(SETTINGS, rows, routes)(HOSTED, "starting")

    # Then
    assert outcome == {"outcome": "routed", "version": 1}
    route = routes.route("h1")
    assert route.state == "starting"
    assert route.target == HostedTarget("vllm", "http://alb:8088", f"{short_name('h1')}.models.internal")
    assert (route.allowed_groups, route.context_window) == (("team-a",), 512)
    assert (route.hosting_type, route.mode) == ("lisa_hosted", "chat")


def test_an_external_models_route_names_its_secret_and_never_holds_it(rows, routes):
    RouteModel(SETTINGS, rows, routes)(EXTERNAL, "active")
    assert routes.route("m1").target == ProviderTarget("openai/gpt-x", None, "arn:secret")


def test_a_server_of_ones_own_is_called_as_one_that_speaks_openai(models, routes):
    body = external(modelName="llama", hostingType="internal_hosted", modelUrl="http://10.0.0.9/v1")
    models.create(record(body))
    RouteModel(SETTINGS, models, routes)(EXTERNAL, "active")
    assert routes.route("m1").target == ProviderTarget("openai/llama", "http://10.0.0.9/v1", None)


def test_a_route_is_withdrawn_once_however_often_the_step_runs(rows, routes):
    step = RouteModel(SETTINGS, rows, routes)
    step(HOSTED, "active")
    assert step(HOSTED, "withdrawn") == step(HOSTED, "withdrawn") == {"outcome": "routed", "version": 2}
    assert routes.route("h1") is None


def test_a_delete_between_look_and_write_keeps_the_route_out(rows, routes, monkeypatch):
    # Given a delete that comes right after the step has read the row
    def deleted_meanwhile(model_id):
        monkeypatch.undo()
        seen = rows.get(model_id)
        rows.want_absent(seen, now=1, deadline=2)
        return seen

    monkeypatch.setattr(rows, "get", deleted_meanwhile)

    # When
    outcome = RouteModel(SETTINGS, rows, routes)(HOSTED, "active")

    # Then
    assert outcome == SUPERSEDED
    assert routes.routes()[1] == []


# --- Await gateways


def test_gateways_are_waited_for_until_all_know(routes, clock):
    # Given
    step = AwaitGateways(routes, clock=clock)
    routes.acknowledge("gateway-1", 1)

    # When
    first = step(2, None)
    clock.now += 1
    second = step(first["version"], first["since"])
    routes.acknowledge("gateway-1", 2)
    third = step(second["version"], second["since"])

    # Then
    assert (first["outcome"], second["outcome"], third["outcome"]) == ("pending", "pending", "acknowledged")
    assert first["since"] == second["since"]


def test_without_a_gateway_there_is_nobody_to_wait_for(routes, clock):
    assert AwaitGateways(routes, clock=clock)(5, None) == {"outcome": "acknowledged"}


def test_a_gateway_that_never_loads_does_not_hold_up_models_for_ever(routes, clock):
    # Given
    step = AwaitGateways(routes, clock=clock)
    since = step(2, None).get("since", clock())
    clock.now += ACKNOWLEDGE_SECONDS + 1
    routes.acknowledge("broken", 1)

    # Then
    assert step(2, since) == {"outcome": "acknowledged", "late": True}


# --- Create stack


def test_a_stack_is_asked_for_with_a_priority_of_its_own(rows, priorities):
    stacks = FakeStacks()
    step = CreateStack(rows, FakeWeights(), priorities, stacks)
    assert step(HOSTED) == {"outcome": "requested"}
    assert step(HOSTED) == {"outcome": "requested"}  # a retry asks for the same
    assert (
        stacks.created[0] == stacks.created[1] == ("h1", "s3://weights/org/weights/", priorities.take("h1"))
    )


def test_a_delete_while_the_stack_is_asked_for_takes_it_away_again(rows, priorities):
    # Given
    stacks = FakeStacks(on_create=lambda: rows.want_absent(rows.get("h1"), now=1, deadline=2))

    # When
    outcome = CreateStack(rows, FakeWeights(), priorities, stacks)(HOSTED)

    # Then
    assert outcome == SUPERSEDED
    assert stacks.deleted == ["h1"]


def test_a_delete_that_ended_meanwhile_leaves_no_place_taken(rows, priorities):
    # Given a delete that is through before the stack is asked for
    def ended():
        rows.forget("h1", rows.get("h1").generation)

    # When
    outcome = CreateStack(rows, FakeWeights(), priorities, FakeStacks(on_create=ended))(HOSTED)

    # Then the next model gets the first place
    assert outcome == SUPERSEDED
    assert priorities.take("another") == 1


# --- Observe and probe model


@pytest.mark.parametrize(
    ("stack", "outcome"), [(StackView("working"), "pending"), (StackView("ready"), "built")]
)
def test_a_stack_is_waited_for(rows, clock, stack, outcome):
    step = ObserveModel(SETTINGS, rows, FakeStacks({"h1": stack}), FakeTasks(), clock=clock)
    seen = step(HOSTED)
    assert seen["outcome"] == outcome
    assert seen["wait"] == 1
    assert seen.get("path") == ("/health" if outcome == "built" else None)


def test_the_longer_a_start_takes_the_rarer_the_looks(rows, clock):
    # An execution has room for 25,000 events, and one look takes about 15.
    step = ObserveModel(SETTINGS, rows, FakeStacks({"h1": StackView("working")}), FakeTasks(), clock=clock)
    waits = [step(HOSTED)["wait"]]
    for _ in range(2):
        clock.now += 290
        waits.append(step(HOSTED)["wait"])
    assert waits == [1, 5, 5]

    longest = Settings(model_start_timeout=14_400)
    looks, elapsed = 0, 0
    from lisa.models.workflow import pause

    while elapsed < longest.model_start_timeout:
        elapsed += pause(elapsed)
        looks += 1
    assert looks * 15 < 25_000


@pytest.mark.parametrize(
    ("stack", "tasks", "reason"),
    [
        (StackView("failed", "Service: no capacity"), FakeTasks(), "Service: no capacity"),
        (StackView("absent"), FakeTasks(), "removed from outside"),
        (StackView("ready"), FakeTasks("exited with code 65. weights"), "exited with code 65. weights"),
        (StackView("working"), FakeTasks("exited with code 1"), "exited with code 1"),
    ],
)
def test_what_cannot_work_fails_with_its_reason(rows, clock, stack, tasks, reason):
    outcome = ObserveModel(SETTINGS, rows, FakeStacks({"h1": stack}), tasks, clock=clock)(HOSTED)
    assert outcome["outcome"] == "failed"
    assert reason in outcome["reason"]


def test_a_model_that_is_never_healthy_fails_within_its_time_with_the_last_words(rows, clock):
    # Given
    step = ObserveModel(SETTINGS, rows, FakeStacks({"h1": StackView("ready")}), FakeTasks(), clock=clock)
    clock.now += 599
    assert step(HOSTED)["outcome"] == "built"

    # When
    clock.now += 2
    outcome = step(HOSTED)

    # Then
    assert outcome["outcome"] == "failed"
    assert "/health" in outcome["reason"]
    assert "600 s" in outcome["reason"]
    assert "loading" in outcome["reason"]


def test_a_later_attempt_has_its_whole_time_to_start(rows, clock):
    # Given an attempt made by the reconciler long after the create
    clock.now += 100_000
    rows.try_again(rows.get("h1"), now=int(clock()), deadline=int(clock()) + 600 + WORKFLOW_MARGIN)

    # When
    step = ObserveModel(SETTINGS, rows, FakeStacks({"h1": StackView("working")}), FakeTasks(), clock=clock)

    # Then
    assert step(Wish("h1", 7, 2)) == {"outcome": "pending", "wait": 1}


def test_the_model_itself_is_asked_by_its_host_name():
    asked = []

    def answers(url, host, path):
        asked.append((url, host, path))
        return len(asked) > 1

    step = ProbeModel(SETTINGS, answers=answers)
    assert step(HOSTED, "/health") == {"outcome": "pending"}
    assert step(HOSTED, "/health") == {"outcome": "ready"}
    assert asked[0] == ("http://alb:8088", f"{short_name('h1')}.models.internal", "/health")


# --- Delete stack


def test_a_stack_is_removed_and_its_priority_given_back_last(rows, priorities):
    # Given
    taken = priorities.take("h1")
    stacks = FakeStacks({"h1": StackView("ready")})
    step = DeleteStack(rows, stacks, priorities)

    # When
    first = step(HOSTED, 0)
    stacks.views["h1"] = StackView("working", removing=True)
    second = step(HOSTED, first["asked"])
    still_held = priorities.take("h1") == taken
    del stacks.views["h1"]
    third = step(HOSTED, second["asked"])

    # Then
    assert (first, second) == ({"outcome": "pending", "asked": 1}, {"outcome": "pending", "asked": 1})
    assert still_held
    assert stacks.deleted == ["h1"]
    assert third == {"outcome": "gone"}
    assert priorities.take("another") == taken


def test_a_removal_that_fails_is_asked_for_again_and_then_said(rows, priorities):
    # Given
    stacks = FakeStacks({"h1": StackView("failed", "Service: still draining")})
    step = DeleteStack(rows, stacks, priorities)

    # When
    asked, outcome = 0, {"outcome": "pending"}
    while outcome["outcome"] == "pending":
        outcome = step(HOSTED, asked)
        asked = outcome.get("asked", asked)

    # Then
    assert len(stacks.deleted) == REMOVAL_TRIES
    assert outcome["outcome"] == "failed"
    assert "still draining" in outcome["reason"]


# --- Record


def test_in_service_is_written(rows, clock):
    outcome = RecordStatus(rows, FakeKeys(), clock=clock)(HOSTED, "InService")
    assert outcome == {"outcome": "recorded"}
    assert (rows.get("h1").status, rows.get("h1").reason) == ("InService", None)


def test_a_failure_keeps_its_reason_and_the_key_for_a_look(rows, clock):
    keys = FakeKeys()
    RecordStatus(rows, keys, clock=clock)(EXTERNAL, "Failed", "because")
    assert (rows.get("m1").status, rows.get("m1").reason) == ("Failed", "because")
    assert keys.forgotten == []


def test_a_deleted_model_leaves_neither_key_nor_row(rows, clock):
    keys = FakeKeys()
    step = RecordStatus(rows, keys, clock=clock)
    step(EXTERNAL, "Deleted")
    assert keys.forgotten == ["arn:secret"]
    assert rows.get("m1") is None
    assert step(EXTERNAL, "Deleted") == SUPERSEDED  # run twice


def test_a_full_load_balancer_is_the_reason_of_a_failure(rows, priorities, monkeypatch):
    # Given
    monkeypatch.setattr("lisa.models.priorities.MODELS_PER_BALANCER", 1)
    priorities.take("another")

    # When
    outcome = CreateStack(rows, FakeWeights(), priorities, FakeStacks())(HOSTED)

    # Then
    assert outcome["outcome"] == "failed"
    assert "delete a hosted model" in outcome["reason"]
