"""Least privilege, as far as templates say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.templates.application import ALL_TEMPLATES, ROOT, Stack, walk


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


def statements(node: Any) -> Iterator[dict[str, Any]]:
    """What is allowed; a denial may be as wide as it likes."""
    for each in walk(node):
        if isinstance(each, dict) and each.get("Effect") == "Allow" and "Action" in each:
            yield each


def actions(statement: dict[str, Any]) -> list[str]:
    action = statement["Action"]
    return [action] if isinstance(action, str) else action


@pytest.mark.parametrize("path", ALL_TEMPLATES, ids=label)
def test_no_statement_allows_a_whole_service(path: Path) -> None:
    for statement in statements(Stack(path).template):
        for action in actions(statement):
            assert not action.endswith("*"), action


@pytest.mark.parametrize("path", ALL_TEMPLATES, ids=label)
def test_every_role_is_bounded_where_the_account_asks_for_it(path: Path) -> None:
    for logical_id, resource in Stack(path).resources.items():
        if resource["Type"] in {
            "AWS::IAM::Role",
            "AWS::Serverless::Function",
            "AWS::Serverless::StateMachine",
        } and "Role" not in resource.get("Properties", {}):
            globals_ = Stack(path).template.get("Globals", {}).get(resource["Type"].rsplit("::", 1)[1], {})
            assert "PermissionsBoundary" in resource["Properties"] or "PermissionsBoundary" in globals_, (
                logical_id
            )


def test_the_gateway_reads_routes_and_writes_only_what_it_has_loaded() -> None:
    role = Stack(ROOT / "stacks/serve.yaml").resources["GatewayTaskRole"]["Properties"]
    keys = {
        action: statement["Condition"]["ForAllValues:StringEquals"]["dynamodb:LeadingKeys"]
        for statement in statements(role["Policies"])
        for action in actions(statement)
        if action.startswith("dynamodb:") and statement["Resource"] == {"Ref": "ModelsTableArn"}
    }
    assert keys == {
        "dynamodb:GetItem": ["CATALOGUE", "ROUTE"],
        "dynamodb:Query": ["CATALOGUE", "ROUTE"],
        "dynamodb:PutItem": ["GATEWAY"],
        "dynamodb:DeleteItem": ["GATEWAY"],
    }


def test_the_models_listener_is_open_to_gateway_and_functions_alone() -> None:
    network = Stack(ROOT / "stacks/network.yaml").resources
    sources = [
        rule["SourceSecurityGroupId"]["Fn::GetAtt"][0]
        for rule in network["AlbGroup"]["Properties"]["SecurityGroupIngress"]
        if rule["FromPort"] == {"Ref": "ModelsListenerPort"}
    ]
    assert sorted(sources) == ["FunctionGroup", "GatewayClientGroup"]


def test_nothing_inside_is_reachable_from_an_address_range() -> None:
    network = Stack(ROOT / "stacks/network.yaml").resources
    open_groups = [
        logical_id
        for logical_id, resource in network.items()
        if resource["Type"] == "AWS::EC2::SecurityGroup"
        and any("CidrIp" in rule for rule in walk(resource) if isinstance(rule, dict))
    ]
    assert open_groups == ["PublicAlbGroup"]


def test_the_role_of_model_stacks_may_look_at_all_that_cloudformation_looks_at() -> None:
    """What the handlers of CloudFormation's own resource types call, as their schemas say."""
    role = Stack(ROOT / "stacks/models.yaml").resources["StackRole"]
    allowed = {action for statement in statements(role) for action in actions(statement)}
    assert {
        "ecs:DescribeServices",
        "ecs:ListServiceDeployments",
        "ecs:DescribeServiceDeployments",
        "elasticloadbalancing:DescribeTargetHealth",
        "application-autoscaling:DescribeScalableTargets",
        "application-autoscaling:DescribeScheduledActions",
    } <= allowed


def test_whoever_starts_a_task_may_pull_through_a_cache() -> None:
    for stack, name in (("serve", "GatewayExecutionRole"), ("models", "ExecutionRole")):
        role = Stack(ROOT / f"stacks/{stack}.yaml").resources[name]
        allowed = {action for statement in statements(role) for action in actions(statement)}
        assert {"ecr:BatchImportUpstreamImage", "ecr:CreateRepository"} <= allowed


def test_the_gateway_reads_the_service_key_and_no_other_secret_of_ours() -> None:
    role = Stack(ROOT / "stacks/serve.yaml").resources["GatewayTaskRole"]["Properties"]
    secrets = [
        statement["Resource"]
        for statement in statements(role["Policies"])
        if "secretsmanager:GetSecretValue" in actions(statement)
    ]
    assert len(secrets) == 2
    assert secrets[0]["Fn::Sub"].endswith(":secret:${DeploymentName}/models/*")
    assert secrets[1] == {"Ref": "ServiceKeySecretArn"}
