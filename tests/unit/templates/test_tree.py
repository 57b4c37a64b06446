"""How the templates fit together, and where each may be deployed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from lisa_gateway.http.connection import KEEP_ALIVE_SECONDS
from ministack.services.cloudformation import provisioners
from samtranslator.translator.transform import transform

from tests.unit.templates.application import (
    ALL_TEMPLATES,
    APPLICATION,
    ROOT,
    TEMPLATES,
    Stack,
    application,
    deployed,
    walk,
)

AWS_ONLY = ROOT / "stacks" / "aws"
EVERYTHING = {
    "Stage": "prod",
    "BuildImages": "true",
    "AdminEmail": "ada@example.com",
    "CertificateArn": "arn:aws:acm:eu-west-1:123456789012:certificate/abc",
    "OpenSearchStore": "domain",
}


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


def nested() -> list[tuple[Stack, str]]:
    """Each nested stack with the template that nests it."""
    return [
        (Stack(path), logical_id)
        for path in TEMPLATES
        for logical_id, resource in Stack(path).resources.items()
        if resource["Type"] == APPLICATION
    ]


def test_cfn_lint_has_nothing_to_say() -> None:
    run = subprocess.run(
        [
            str(Path(sys.executable).with_name("cfn-lint")),
            "--non-zero-exit-code",
            "informational",
            *map(str, ALL_TEMPLATES),
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_every_template_is_part_of_the_application() -> None:
    used = {stack.path for stack in deployed(application(**EVERYTHING))}
    assert used == set(TEMPLATES)


@pytest.mark.parametrize(("parent", "logical_id"), nested(), ids=lambda each: getattr(each, "name", each))
def test_a_nested_stack_is_given_exactly_its_parameters(parent: Stack, logical_id: str) -> None:
    resource = parent.resources[logical_id]
    given = set(resource["Properties"].get("Parameters", {}))
    assert given == set(parent.child(resource).template.get("Parameters", {}))


@pytest.mark.parametrize("path", TEMPLATES, ids=label)
def test_every_output_that_is_used_exists(path: Path) -> None:
    stack = Stack(path)
    used = [
        node["Fn::GetAtt"] for node in walk(stack.template) if isinstance(node, dict) and "Fn::GetAtt" in node
    ]
    for logical_id, attribute in used:
        if attribute.startswith("Outputs."):
            child = stack.child(stack.resources[logical_id])
            assert attribute.removeprefix("Outputs.") in child.template["Outputs"], (
                f"{logical_id}.{attribute}"
            )


@pytest.mark.parametrize("path", TEMPLATES, ids=label)
def test_every_parameter_is_used(path: Path) -> None:
    text = path.read_text()
    for name in Stack(path).template.get("Parameters", {}):
        assert re.search(rf"!Ref {name}\b|\${{{name}}}|Ref: {name}\b", text), name


@pytest.mark.parametrize("path", ALL_TEMPLATES, ids=label)
def test_no_template_names_one_partition(path: Path) -> None:
    # A service's principal is the same in every partition.
    text = re.sub(r"[a-z0-9-]+\.amazonaws\.com(?=[\]\s\"'}]|$)", "", _principals_only(path.read_text()))
    assert not re.search(r"arn:aws[:-]", text)
    assert "amazonaws.com" not in text


def _principals_only(text: str) -> str:
    """The text without its service principals."""
    return re.sub(
        r"(Service|lambda:FunctionUrlAuthType|Principal): *\[?[a-z0-9.,\s-]+\.amazonaws\.com\]?", "", text
    )


@pytest.mark.parametrize("path", ALL_TEMPLATES, ids=label)
def test_a_statement_about_every_resource_says_why(path: Path) -> None:
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines):
        if re.search(r"Resource: *(\[ *)?[\"']\*[\"']", line):
            start = max(
                at for at in range(number + 1) if lines[at].lstrip().startswith(("- Effect", "- Sid"))
            )
            assert any("#" in each for each in lines[start - 1 : number + 1]), f"{label(path)}:{number + 1}"


def test_one_machine_gets_only_what_the_emulator_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    known = set(provisioners._RESOURCE_HANDLERS)
    for stack in deployed(application(Stage="local")):
        # The transform wants plain JSON, and its types do not depend on where artefacts lie.
        created = {**stack.template, "Resources": _with_artefacts(stack.created())}
        expanded = transform(yaml.safe_load(yaml.safe_dump(created)), {}, _NoManagedPolicies())
        unknown = {resource["Type"] for resource in expanded["Resources"].values()} - known
        assert not unknown, stack.name


class _NoManagedPolicies:
    def load(self) -> dict[str, str]:
        return {}


def _with_artefacts(resources: dict[str, dict]) -> dict[str, dict]:
    """The resources as `sam package` leaves them."""
    places = {
        "AWS::Serverless::Function": "CodeUri",
        "AWS::Serverless::LayerVersion": "ContentUri",
        "AWS::Serverless::StateMachine": "DefinitionUri",
        APPLICATION: "Location",
    }
    found = {}
    for logical_id, resource in resources.items():
        place = places.get(resource["Type"])
        properties = dict(resource.get("Properties", {}))
        if place in properties:
            properties[place] = (
                f"s3://bucket/{logical_id}" if place != "Location" else "https://bucket/template"
            )
        found[logical_id] = {**resource, "Properties": properties}
    return found


def test_what_only_aws_knows_is_created_nowhere_else() -> None:
    local = {stack.path for stack in deployed(application(Stage="local"))}
    assert not [label(path) for path in local if AWS_ONLY in path.parents]
    assert len(local) > 5


def test_with_another_issuer_there_is_no_user_pool() -> None:
    root = application(
        **EVERYTHING | {"AdminEmail": "", "OidcIssuer": "https://login.example.com", "OidcClientId": "lisa"}
    )
    types = [resource["Type"] for stack in deployed(root) for resource in stack.created().values()]
    assert not [each for each in types if each.startswith("AWS::Cognito::UserPool") and each != CLIENT]
    assert "AWS::SSM::Parameter" in types


CLIENT = "AWS::Cognito::UserPoolClient"
"""Made unless its user pool's id is empty, which is known only at deployment."""


def test_password_sign_in_through_the_api_is_for_one_machine_alone() -> None:
    flows = {
        stage: Stack(ROOT / "stacks/signin.yaml", {"Stage": stage, "UserPoolId": "pool"}).value(
            Stack(ROOT / "stacks/signin.yaml").resources["Client"]["Properties"]["ExplicitAuthFlows"]
        )
        for stage in ("local", "dev", "prod")
    }
    assert "ALLOW_ADMIN_USER_PASSWORD_AUTH" in flows["local"]
    assert flows["dev"] == flows["prod"] == ["ALLOW_REFRESH_TOKEN_AUTH"]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"NetworkMode": "nat", "Stage": "prod", "AllowedProviderHosts": "*"}, "*"),
        ({"NetworkMode": "isolated", "Stage": "prod", "AllowedProviderHosts": "*"}, ""),
    ],
)
def test_an_isolated_network_reaches_no_provider(parameters: dict[str, str], expected: str) -> None:
    network = Stack(ROOT / "stacks/network.yaml", parameters)
    assert network.value(network.template["Outputs"]["ReachableProviderHosts"]["Value"]) == expected


@pytest.mark.parametrize("path", ["stacks/network.yaml", "stacks/aws/public_alb.yaml"])
def test_the_gateway_keeps_connections_longer_than_the_load_balancers(path: str) -> None:
    attributes = Stack(ROOT / path).resources["Alb"]["Properties"]["LoadBalancerAttributes"]
    (idle,) = [each["Value"] for each in attributes if each.get("Key") == "idle_timeout.timeout_seconds"]
    assert int(idle) < KEEP_ALIVE_SECONDS


def test_the_public_load_balancer_takes_what_clients_call_and_no_metrics() -> None:
    (condition,) = Stack(AWS_ONLY / "public_alb.yaml").resources["Routes"]["Properties"]["Conditions"]
    assert condition["PathPatternConfig"]["Values"] == ["/v1/*", "/v2/serve/*", "/health", "/health/*"]
