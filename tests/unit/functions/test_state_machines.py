"""What holds for every workflow, read from its definition."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.functions.samples import FUNCTIONS, ROOT
from tests.unit.templates.application import load

MACHINES = sorted((ROOT / "statemachines").glob("*.asl.yaml"))
BY_NAME = pytest.mark.parametrize("path", MACHINES, ids=lambda path: path.name.split(".")[0])
ENDS = {"Succeed", "Fail"}
MODELS = load(ROOT / "stacks" / "models.yaml")["Resources"]


def states(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())["States"]
    return found


def follows(state: dict[str, Any]) -> set[str]:
    """Every state that can come next."""
    found = {state["Next"]} if "Next" in state else set()
    found |= {choice["Next"] for choice in state.get("Choices", [])}
    found |= {catch["Next"] for catch in state.get("Catch", [])}
    return found | ({state["Default"]} if "Default" in state else set())


@BY_NAME
def test_every_state_is_reached_and_leads_to_a_named_end(path):
    # Given
    machine = yaml.safe_load(path.read_text())
    all_states = machine["States"]

    # Then
    reached, todo = set(), [machine["StartAt"]]
    while todo:
        name = todo.pop()
        if name not in reached:
            reached.add(name)
            todo += follows(all_states[name])
    assert reached == set(all_states)
    for name, state in all_states.items():
        assert state["Type"] in ENDS or follows(state), f"{name} leads nowhere"
        assert "End" not in state, f"{name} ends without saying how"


@BY_NAME
def test_every_task_has_a_time_limit_retries_with_jitter_and_a_way_out(path):
    for name, state in states(path).items():
        if state["Type"] != "Task":
            continue
        assert 0 < state["TimeoutSeconds"] <= 60, name
        (retry,) = state["Retry"]
        assert retry["ErrorEquals"] == ["States.ALL"], name
        assert retry["BackoffRate"] > 1, name
        assert retry["JitterStrategy"] == "FULL", name
        (catch,) = state["Catch"]
        assert catch["ErrorEquals"] == ["States.ALL"], name


@BY_NAME
def test_only_references_and_what_a_step_needs_are_passed_on(path):
    for name, state in states(path).items():
        if state["Type"] == "Task":
            given = state["Parameters"]
            assert {"modelId.$", "generation.$", "attempt.$"} <= set(given), name
            assert set(given) - {"modelId.$", "generation.$", "attempt.$"} <= {
                "routeState", "path.$", "route.$", "asked.$", "status", "reason.$",
            }, name  # fmt: skip


@BY_NAME
def test_every_choice_has_a_default(path):
    for name, state in states(path).items():
        assert state["Type"] != "Choice" or "Default" in state, name


@BY_NAME
def test_the_states_functions_exist_under_the_same_words(path):
    for name, state in states(path).items():
        if state["Type"] == "Task":
            # ${ModelCreateStackArn} -> model_create_stack
            word = state["Resource"].removeprefix("${").removesuffix("Arn}")
            folder = "".join("_" + letter.lower() if letter.isupper() else letter for letter in word).strip(
                "_"
            )
            assert (FUNCTIONS / folder / "app.py").exists(), f"{name}: {folder}"
            assert MODELS[word]["Properties"]["CodeUri"] == f"../functions/{folder}"


@BY_NAME
def test_what_is_substituted_is_exactly_what_is_asked_for(path):
    words = {s["Resource"].strip("${}") for s in states(path).values() if s["Type"] == "Task"}
    name = "".join(part.capitalize() for part in path.name.split(".")[0].split("_"))
    machine = MODELS[name]["Properties"]
    assert set(machine["DefinitionSubstitutions"]) == words
    assert machine["DefinitionUri"] == f"../statemachines/{path.name}"
    # Its role may call these functions and no other: the emulator does not hold a machine to its role.
    (policy,) = machine["Policies"]
    calls = next(s for s in policy["Statement"] if s["Action"] == "lambda:InvokeFunction")
    assert {resource["Fn::GetAtt"][0] + "Arn" for resource in calls["Resource"]} == words


def test_a_failed_create_removes_what_it_made_before_it_says_so():
    # From every way to fail, the row is written last.
    create = states(ROOT / "statemachines" / "model_create.asl.yaml")
    for name, state in create.items():
        if name.startswith("Explain"):
            assert state["Next"] == "Withdraw route"
    assert [name for name, state in create.items() if "Record failed" in follows(state)] == [
        "Is the stack gone"
    ]


def test_a_row_goes_only_when_gateways_know_and_nothing_is_left():
    delete = states(ROOT / "statemachines" / "model_delete.asl.yaml")
    assert [name for name, state in delete.items() if "Record deleted" in follows(state)] == [
        "Is the stack gone"
    ]
    assert [name for name, state in delete.items() if "Prepare removal" in follows(state)] == [
        "Do gateways know"
    ]


def test_the_longest_start_fits_into_an_executions_history():
    """25,000 events are the limit of an execution; a look at a starting model writes about 15."""
    from lisa.models.workflow import pause

    longest = load(ROOT / "template.yaml")["Parameters"]["ModelStartTimeoutSeconds"]["MaxValue"]
    elapsed = looks = 0
    while elapsed < longest:
        elapsed += pause(elapsed)
        looks += 1
    assert looks * 15 < 25_000
    wait = states(ROOT / "statemachines" / "model_create.asl.yaml")["Wait for model"]
    assert wait["SecondsPath"] == "$.observed.wait"
