"""What may start each function: the entries that are not routes. Routes are the policy's (lisa.identity.policy)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.templates.application import TEMPLATES, Stack, walk

WORKFLOWS = "workflow ModelCreate", "workflow ModelDelete"
INGESTION = "workflow DocumentIngest", "workflow DocumentIngestLong"

REPOSITORY_WORKFLOWS = {
    f"workflow {name}"
    for name in (
        "RepositoryCreate", "RepositoryUpdate", "RepositoryDelete", "CollectionCreate", "CollectionDelete",
    )
}  # fmt: skip
REPOSITORY_ROUTES = {"apigateway.amazonaws.com /*/*/api/repository*", "the routes of Api"}

# Its role may, and its task is told which function it is.
GATEWAY = {"AWS::IAM::Role GatewayTaskRole", "AWS::ECS::TaskDefinition GatewayTask"}

INVOKERS: dict[str, set[str]] = {
    # Behind API Gateway; who may call a route is the policy's.
    "ApiAuthorizer": {"apigateway.amazonaws.com /authorizers/*", "the routes of Api"},
    "ApiDocs": {"apigateway.amazonaws.com /*/*/api/*", "the routes of Api"},
    "ModelsApi": {"apigateway.amazonaws.com /*/*/api/models*", "the routes of Api"},
    "MetricsApi": {"apigateway.amazonaws.com /*/GET/api/metrics/*", "the routes of Api"},
    "TokensApi": {"apigateway.amazonaws.com /*/*/api/api-tokens*", "the routes of Api"},
    "LimitsApi": {
        "apigateway.amazonaws.com /*/*/api/limits*",
        "apigateway.amazonaws.com /*/*/api/prices*",
        "the routes of Api",
    },
    "AuditApi": {"apigateway.amazonaws.com /*/*/api/audit", "the routes of Api"},
    # The gateway's role alone may ask it (lisa.rag.wire).
    "VectorStoresApi": GATEWAY,
    # The gateway may ask it too (lisa.rag.wire).
    "RagSearch": {
        "apigateway.amazonaws.com /*/GET/api/repository/*/similaritySearch*",
        "the routes of Api",
        *GATEWAY,
    },
    "RepositoriesApi": REPOSITORY_ROUTES,
    "CollectionsApi": REPOSITORY_ROUTES,
    "DocumentsApi": REPOSITORY_ROUTES,
    # By what happens.
    "AuditRecord": {"AWS::Lambda::EventSourceMapping AuditRecordSource"},
    "LimitAlert": {"DynamoDB LimitsTableStreamArn"},
    "ModelDispatch": {"DynamoDB ModelsTableStreamArn"},
    # The queue takes messages of the gateway's role. A mapping by itself, without SAM's policy on every queue.
    "UsageRecord": {"AWS::Lambda::EventSourceMapping UsageRecordSource"},
    "ModelReconcile": {"ScheduleV2 rate(1 minute)"},
    # Steps of workflows, which ModelDispatch alone starts.
    "ModelCheck": {"workflow ModelCreate"},
    "ModelCreateStack": {"workflow ModelCreate"},
    "ModelObserve": {"workflow ModelCreate"},
    "ModelProbe": {"workflow ModelCreate"},
    "ModelRoute": {*WORKFLOWS},
    "ModelAwaitGateways": {*WORKFLOWS},
    "ModelDeleteStack": {*WORKFLOWS},
    "ModelRecord": {*WORKFLOWS},
    # And of those that RepositoryDispatch alone starts.
    "RepositoryDispatch": {"DynamoDB RepositoriesTableStreamArn"},
    "RepositoryReconcile": {"ScheduleV2 rate(1 minute)"},
    "RepositoryConnect": {"workflow RepositoryCreate", "workflow RepositoryUpdate"},
    "RepositoryPipelines": {
        "workflow RepositoryCreate",
        "workflow RepositoryUpdate",
        "workflow RepositoryDelete",
    },
    "RepositoryEmpty": {"workflow RepositoryDelete"},
    "CollectionForget": {"workflow CollectionDelete"},
    "CollectionIndex": {"workflow CollectionCreate", "workflow CollectionDelete"},
    "RepositoryRecord": REPOSITORY_WORKFLOWS,
    # Two queues take S3's events by three rules, and what our own roles ask for.
    "DocumentDispatch": {
        "AWS::Lambda::EventSourceMapping DocumentDispatchSource",
        "AWS::Lambda::EventSourceMapping InteractiveDispatchSource",
    },
    "DocumentReconcile": {"ScheduleV2 rate(1 minute)", "EventBridgeRule aws.states"},
    # By the schedules of pipelines, and once by whoever makes a pipeline.
    "DocumentFind": {
        "AWS::IAM::Role SchedulerRole",
        "AWS::IAM::ManagedPolicy SchedulesPolicy",
        "AWS::Serverless::Function RepositoryPipelines",
    },
    # Steps of workflows, which DocumentDispatch starts.
    "DocumentCheck": {*INGESTION, "workflow DocumentDelete"},
    "DocumentParse": {*INGESTION},
    "DocumentEmbed": {*INGESTION},
    "DocumentStore": {*INGESTION, "workflow DocumentDelete"},
    "DocumentCommit": {*INGESTION, "workflow DocumentDelete"},
    "CollectionReindexStep": {"workflow CollectionReindex"},
    "CollectionGeneration": {"workflow CollectionReindex"},
    # At deployment.
    "DatabasePrepare": {"Custom::Database"},
    "ImageBuild": {"Custom::Image", "EventBridgeRule aws.codebuild"},
}
"""Each function with all that may start it. A new way in belongs here, with a thought about who can cause it."""

STARTERS = {"ModelDispatch", "RepositoryDispatch", "DocumentDispatch", "CollectionsApi"}
"""The functions that may start an execution of a workflow (CollectionsApi one: a re-index); reconcilers have the
table's stream, or the queue, start them again."""

_WATCHERS = re.compile(r"AWS::CloudWatch::|AWS::Logs::")


def functions() -> Iterator[tuple[Stack, str, dict[str, Any]]]:
    for path in TEMPLATES:
        stack = Stack(path)
        for name, resource in stack.resources.items():
            if resource["Type"] in {"AWS::Serverless::Function", "AWS::Lambda::Function"}:
                yield stack, name, resource


def mentions(node: Any, name: str) -> bool:
    """Whether a part of a template names a resource, by itself or inside a text."""
    inside = re.compile(r"\$\{" + name + r"[.}]")
    for each in walk(node):
        if isinstance(each, dict):
            if each.get("Ref") == name:
                return True
            attribute = each.get("Fn::GetAtt")
            if (
                attribute is not None
                and (attribute if isinstance(attribute, list) else attribute.split("."))[0] == name
            ):
                return True
            text = each.get("Fn::Sub")
            if inside.search(text[0] if isinstance(text, list) else text or ""):
                return True
    return False


def invokers(stack: Stack, name: str, resource: dict[str, Any]) -> set[str]:
    own = resource["Properties"].get("Events", {}).values()
    found = {f"{event['Type']} {source_of(event['Properties'])}" for event in own}
    candidates = [(other, candidate, name) for other, candidate in stack.resources.items() if other != name]
    candidates += elsewhere(stack, name)
    for other, candidate, known_as in candidates:
        kind = candidate["Type"]
        # A function that has another's name in its environment can do nothing with it but by its role.
        if _WATCHERS.match(kind) or not mentions(candidate, known_as):
            continue
        if kind == "AWS::Lambda::Permission":
            assert candidate["Properties"]["Action"] == "lambda:InvokeFunction"
            assert candidate["Properties"]["SourceArn"], f"{other} lets a service in from any account"
            found.add(f"{candidate['Properties']['Principal']} {source_of(candidate['Properties'])}".strip())
        elif kind == "AWS::Serverless::StateMachine":
            found.add(f"workflow {other}")
        elif kind == "AWS::Serverless::Api":
            found.add(f"the routes of {other}")
        elif kind.startswith(("Custom::", "AWS::CloudFormation::CustomResource")):
            found.add(kind)
        else:
            found.add(f"{kind} {other}")
    return found


def elsewhere(stack: Stack, name: str) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Resources of other stacks that are given the function by an output: they know it by the output's name."""
    for output, content in stack.template.get("Outputs", {}).items():
        if not mentions(content, name):
            continue
        for other in map(Stack, TEMPLATES):
            if other.path != stack.path and output in other.template.get("Parameters", {}):
                yield from ((key, each, output) for key, each in other.resources.items())


def source_of(properties: dict[str, Any]) -> str:
    """The source in words: a queue, a stream, a schedule, a pattern, or where a call may come from."""
    for key in ("Stream", "Queue", "ScheduleExpression", "Schedule", "SourceArn", "Topic", "Bucket"):
        value = properties.get(key)
        match value:
            case str():
                return value
            case {"Ref": str(name)}:
                return name
            case {"Fn::GetAtt": [str(name), *_]}:
                return name
            case {"Fn::Sub": str(text)}:
                return text.rpartition("}")[2]
    return ", ".join(properties["Pattern"]["source"])


@pytest.mark.parametrize(
    ("stack", "name", "resource"), [*functions()], ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_function_is_started_by_what_is_declared_and_by_nothing_else(
    stack: Stack, name: str, resource: dict[str, Any]
) -> None:
    assert name in INVOKERS, (
        f"{stack.name}: say in INVOKERS what may start {name}: {invokers(stack, name, resource)}"
    )
    assert invokers(stack, name, resource) == INVOKERS[name]
    assert "FunctionUrlConfig" not in resource["Properties"], "a function URL is a way past the authorizer"


def test_what_is_declared_is_there() -> None:
    assert set(INVOKERS) == {name for _, name, _ in functions()}


def test_one_function_starts_workflows_and_no_function_starts_another() -> None:
    starting, invoking = set(), set()
    for stack in map(Stack, TEMPLATES):
        for name, resource in stack.resources.items():
            actions = {
                action
                for node in walk(resource)
                if isinstance(node, dict) and node.get("Effect") == "Allow" and "Action" in node
                for action in ([node["Action"]] if isinstance(node["Action"], str) else node["Action"])
            }
            if "states:StartExecution" in actions:
                starting.add(name)
            if "lambda:InvokeFunction" in actions:
                invoking.add(name)
    assert starting == STARTERS
    machines = {
        name
        for stack in map(Stack, TEMPLATES)
        for name, resource in stack.resources.items()
        if resource["Type"] == "AWS::Serverless::StateMachine"
    }
    # And the scheduler, for the pipelines of whoever holds the policy.
    # And the gateway, for who has signed in.
    assert invoking == machines | {"SchedulerRole", "SchedulesPolicy", "GatewayTaskRole"}


def test_templates_hold_no_event_source_beside_the_functions() -> None:
    """What would start a function without being seen above."""
    seen = set().union(*INVOKERS.values())
    for path in map(Path, TEMPLATES):
        for name, resource in Stack(path).resources.items():
            assert resource["Type"] != "AWS::Lambda::Url", name
            if resource["Type"] == "AWS::Lambda::EventSourceMapping":
                assert f"{resource['Type']} {name}" in seen
