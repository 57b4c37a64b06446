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
RESOURCES = {
    name: resource
    for stack in ("models", "rag", "repositories")
    for name, resource in load(ROOT / "stacks" / f"{stack}.yaml")["Resources"].items()
}
# What each kind of workflow hands on to its steps: which wish it is about, and what a step may need beside.
WISHES = {
    "model": {"modelId.$", "generation.$", "attempt.$"},
    "repository": {"repositoryId.$", "collectionId.$", "version.$", "attempt.$"},
    "collection": {"repositoryId.$", "collectionId.$", "version.$", "attempt.$"},
    "reindex": {"repositoryId.$", "collectionId.$", "generation.$"},
}
BESIDE = {
    "model": {"routeState", "path.$", "route.$", "asked.$", "status", "reason.$"},
    "repository": {"tries.$", "asked.$", "desired", "status", "reason.$"},
    "collection": {"tries.$", "desired", "status", "reason.$"},
    "reindex": {"step", "after.$", "seen.$", "reason.$"},
}
# A function that reads or stores a long file, or embeds a batch, takes longer than others.
LONGEST = {"document": 600, "reindex": 120}


def kind_of(path: Path) -> str:
    return "reindex" if "reindex" in path.name else path.name.partition("_")[0]


def states(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())["States"]
    return found


def inner(path: Path) -> dict[str, Any]:
    """The states of what a Map does with each of its items."""
    maps = [state for state in states(path).values() if state["Type"] == "Map"]
    return {name: state for each in maps for name, state in each["Iterator"]["States"].items()}


def tasks(path: Path) -> dict[str, Any]:
    found = {**states(path), **inner(path)}
    return {name: state for name, state in found.items() if state["Type"] == "Task"}


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
    longest = LONGEST.get(kind_of(path), 60)
    for name, state in [*states(path).items(), *inner(path).items()]:
        if state["Type"] not in ("Task", "Map"):
            continue
        if state["Type"] == "Task":
            assert 0 < state["TimeoutSeconds"] <= longest, name
            (retry,) = state["Retry"]
            assert retry["ErrorEquals"] == ["States.ALL"], name
            assert retry["BackoffRate"] > 1, name
            assert retry["JitterStrategy"] == "FULL", name
        if name not in inner(path):  # what happens inside of a Map is caught by the Map
            (catch,) = state["Catch"]
            assert catch["ErrorEquals"] == ["States.ALL"], name


@BY_NAME
def test_only_references_and_what_a_step_needs_are_passed_on(path):
    kind = kind_of(path)
    if kind == "document":
        return  # its steps hand on one state of references (lisa.rag.ingestion.items)
    for name, state in states(path).items():
        if state["Type"] == "Task":
            given = set(state["Parameters"])
            assert given >= WISHES[kind], name
            assert given - WISHES[kind] <= BESIDE[kind], name


@BY_NAME
def test_every_choice_has_a_default(path):
    for name, state in states(path).items():
        assert state["Type"] != "Choice" or "Default" in state, name


@BY_NAME
def test_the_states_functions_exist_under_the_same_words(path):
    for name, state in tasks(path).items():
        if state["Type"] == "Task":
            # ${ModelCreateStackArn} -> model_create_stack
            word = state["Resource"].removeprefix("${").removesuffix("Arn}")
            folder = "".join("_" + letter.lower() if letter.isupper() else letter for letter in word).strip(
                "_"
            )
            assert (FUNCTIONS / folder / "app.py").exists(), f"{name}: {folder}"
            assert RESOURCES[word]["Properties"]["CodeUri"] == f"../functions/{folder}"


@BY_NAME
def test_what_is_substituted_is_exactly_what_is_asked_for(path):
    words = {s["Resource"].strip("${}") for s in tasks(path).values()}
    name = "".join(part.capitalize() for part in path.name.split(".")[0].split("_"))
    machine = RESOURCES[name]["Properties"]
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


def test_long_and_ordinary_files_go_through_the_same_steps():
    ordinary, long = (
        states(ROOT / "statemachines" / f"document_{name}.asl.yaml") for name in ("ingest", "ingest_long")
    )
    assert {name: (s["Type"], s.get("Resource"), follows(s)) for name, s in ordinary.items()} == {
        name: (s["Type"], s.get("Resource"), follows(s)) for name, s in long.items()
    }


def test_ten_files_of_the_slowest_kind_fit_into_an_express_execution():
    from lisa.rag.ingestion.parse import ORDINARY_SECONDS

    assert 10 * ORDINARY_SECONDS < 300


@pytest.mark.parametrize("name", ["ingest", "ingest_long", "delete"])
def test_whatever_ends_a_documents_workflow_its_outcome_is_written_or_it_is_asked_for_again(name):
    found = states(ROOT / "statemachines" / f"document_{name}.asl.yaml")
    assert {n for n, s in found.items() if "Settled" in follows(s)} == {"Commit documents", "Commit failure"}
    assert found["Check documents"]["Catch"][0]["Next"] == "Could not begin"
    assert found["Could not begin"]["Type"] == found["Could not settle"]["Type"] == "Fail"
