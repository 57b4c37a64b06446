"""The root's parameters: what they take, what they refuse together, and that people can read about each."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.unit.templates.application import ROOT, application

PARAMETERS = application().template["Parameters"]
DIGEST = "0" * 64
IMAGES = dict.fromkeys(
    ("GatewayImage", "ModelCpuImage", "ModelGpuImage"), f"registry.example.com/lisa@sha256:{DIGEST}"
)
CERTIFICATE = "arn:aws:acm:eu-west-1:123456789012:certificate/abc"


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_guide_explains_every_parameter(name: str) -> None:
    rows = re.findall(r"^\| `(\w+)` \| .* \| (.+) \|$", (ROOT / "docs/deploy.md").read_text(), re.M)
    assert name in dict(rows)


def test_the_guide_explains_no_parameter_that_is_gone() -> None:
    rows = re.findall(r"^\| `([A-Z]\w+)` \| .* \| .+ \|$", (ROOT / "docs/deploy.md").read_text(), re.M)
    assert set(rows) == set(PARAMETERS)


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_parameter_has_a_default_and_a_description(name: str) -> None:
    assert "Default" in PARAMETERS[name]
    assert len(PARAMETERS[name]["Description"]) > 20


def test_the_console_shows_every_parameter_in_one_group() -> None:
    groups = application().template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    shown = [name for group in groups for name in group["Parameters"]]
    assert sorted(shown) == sorted(PARAMETERS)


@pytest.mark.parametrize("name", [name for name in PARAMETERS if "AllowedPattern" in PARAMETERS[name]])
def test_a_default_matches_its_own_pattern(name: str) -> None:
    assert re.fullmatch(PARAMETERS[name]["AllowedPattern"], str(PARAMETERS[name]["Default"]))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DeploymentName", "Lisa"),
        ("DeploymentName", "a-name-that-is-too-long"),
        ("GatewayImage", "lisa/gateway:latest"),
        ("GatewayImage", "lisa/gateway@sha256:abc"),
        ("PublicUrl", "http://lisa.example.com"),
        ("PublicUrl", "https://lisa.example.com/"),
        ("AdminEmail", "nobody"),
        ("VpcId", "10.0.0.0/16"),
        ("CertificateArn", "lisa.example.com"),
        ("PermissionsBoundary", "MyBoundary"),
        ("PgvectorHost", "postgres://db.example.com"),
        ("PgvectorPassword", 'quo"tation-mark'),
        ("PgvectorPassword", "back\\slash"),
        ("OpenSearchUrl", "https://user:password@search.example.com"),
        ("OpenSearchUrl", "search.example.com"),
        ("OpenSearchUser", 'quo"tation-mark'),
        ("OpenSearchInstanceType", "r7g.large"),
    ],
)
def test_a_value_of_the_wrong_form_is_refused(name: str, value: str) -> None:
    assert not re.fullmatch(PARAMETERS[name]["AllowedPattern"], value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DeploymentName", "lisa-eu"),
        ("GatewayImage", IMAGES["GatewayImage"]),
        ("PublicUrl", "http://localhost:8080"),
        ("PublicUrl", "https://lisa.example.com/llm"),
        ("AdminEmail", "ada@example.com"),
        ("VpcId", "vpc-0123456789abcdef0"),
        ("CertificateArn", CERTIFICATE),
        ("PermissionsBoundary", "arn:aws-us-gov:iam::123456789012:policy/teams/boundary"),
        ("SignInBaseUrl", "http://127.0.0.1:4566"),
    ],
)
def test_a_value_of_the_right_form_is_taken(name: str, value: str) -> None:
    assert re.fullmatch(PARAMETERS[name]["AllowedPattern"], value)


@pytest.mark.parametrize(
    "parameters",
    [
        {"Stage": "local", "SignInBaseUrl": "http://127.0.0.1:4566"},
        {"BuildImages": "true"},
        IMAGES,
        IMAGES | {"Stage": "prod", "AdminEmail": "ada@example.com"},
        IMAGES | {"OidcIssuer": "https://login.example.com", "OidcClientId": "lisa"},
        IMAGES | {"NetworkMode": "isolated"},
        IMAGES | {"PgvectorStore": "existing", "PgvectorHost": "db.example.com"},
        IMAGES | {"OpenSearchStore": "domain", "OpenSearchInstances": "1"},
        IMAGES | {"OpenSearchStore": "existing", "OpenSearchUrl": "https://search.example.com"},
        IMAGES | {"VpcId": "vpc-1", "PrivateSubnetIds": "subnet-1,subnet-2"},
        IMAGES
        | {
            "VpcId": "vpc-1",
            "PrivateSubnetIds": "subnet-1,subnet-2",
            "PublicSubnetIds": "subnet-3,subnet-4",
            "CertificateArn": CERTIFICATE,
        },
    ],
)
def test_parameters_that_go_together_are_taken(parameters: dict[str, str]) -> None:
    assert application(**parameters).broken_rules() == []


@pytest.mark.parametrize(
    ("parameters", "names"),
    [
        ({}, "BuildImages"),
        ({"GatewayImage": IMAGES["GatewayImage"]}, "ModelCpuImage"),
        (IMAGES | {"OidcIssuer": "https://login.example.com"}, "OidcClientId"),
        (IMAGES | {"OidcClientId": "lisa"}, "OidcIssuer"),
        (IMAGES | {"OidcJwksUrl": "https://login.example.com/keys"}, "OidcIssuer"),
        (
            IMAGES | {"OidcIssuer": "https://a.example.com", "OidcClientId": "lisa", "AdminEmail": "a@b.cd"},
            "AdminEmail",
        ),
        (IMAGES | {"PgvectorStore": "existing"}, "PgvectorHost"),
        (IMAGES | {"PgvectorHost": "db.example.com"}, "PgvectorStore"),
        (IMAGES | {"PgvectorStore": "none", "PgvectorPassword": "12345678"}, "PgvectorStore"),
        (IMAGES | {"OpenSearchStore": "existing"}, "OpenSearchUrl"),
        (IMAGES | {"OpenSearchUrl": "https://search.example.com"}, "OpenSearchStore"),
        (IMAGES | {"OpenSearchStore": "domain", "OpenSearchUrl": "https://a.example.com"}, "OpenSearchStore"),
        (
            IMAGES
            | {"OpenSearchStore": "existing", "OpenSearchUrl": "https://a.b", "OpenSearchPassword": "secret"},
            "OpenSearchUser",
        ),
        (IMAGES | {"VpcId": "vpc-1"}, "PrivateSubnetIds"),
        (IMAGES | {"PrivateSubnetIds": "subnet-1,subnet-2"}, "VpcId"),
        (IMAGES | {"NetworkMode": "isolated", "CertificateArn": CERTIFICATE}, "CertificateArn"),
        (
            IMAGES
            | {"VpcId": "vpc-1", "PrivateSubnetIds": "subnet-1,subnet-2", "CertificateArn": CERTIFICATE},
            "PublicSubnetIds",
        ),
        (IMAGES | {"SignInBaseUrl": "http://127.0.0.1:4566"}, "SignInBaseUrl"),
    ],
)
def test_parameters_that_contradict_each_other_are_refused(parameters: dict[str, str], names: str) -> None:
    broken = application(**parameters).broken_rules()
    assert len(broken) == 1
    assert names in broken[0]


@pytest.mark.parametrize("environment", ["local", "dev", "prod"])
def test_an_environment_gives_parameters_that_the_template_takes(environment: str) -> None:
    config = tomllib.loads((ROOT / "samconfig.toml").read_text())
    # `sam build` and `sam deploy` must agree on them, so they stand where both read them.
    given = dict(
        entry.split("=", 1) for entry in config[environment]["global"]["parameters"]["parameter_overrides"]
    )
    for name, value in given.items():
        allowed = PARAMETERS[name].get("AllowedValues")
        assert allowed is None or value in [str(each) for each in allowed]
    assert given["Stage"] == environment
    assert application(**given).broken_rules() == []
    assert "CAPABILITY_AUTO_EXPAND" in config[environment]["deploy"]["parameters"]["capabilities"]
