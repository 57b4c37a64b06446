"""A build is repeated when, and only when, something that it reads has changed; a failed one says why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from lisa_local.bringup import deploy
from lisa_local.cloud import LocalCloud, without_aws
from lisa_local.component import write_private
from lisa_local.console import Problem
from lisa_local.home import Home

PARAMETERS = {"Stage": "local"}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "checkout"
    (root / "stacks").mkdir(parents=True)
    (root / "template.yaml").write_text("Resources: {}\n")
    (root / "stacks" / "data.yaml").write_text("Resources: {}\n")
    return root


@pytest.fixture
def deployment(home: Home, write_config: Callable[..., None]) -> deploy.Deployment:
    write_config()
    write_private(home.operator, '{"access_key_id": "AKIAOPERATOR", "secret_access_key": "s3cret"}')
    write_private(
        home.retrieval,
        '{"host": "127.0.0.1", "port": 15432, "database": "lisa", "user": "r", "password": "t0p-s3cret"}',
    )
    return deploy.Deployment(LocalCloud(home))


def _stand_in_for_sam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    path = tmp_path / "sam"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setattr(deploy, "SAM", path)


def test_a_build_depends_on_what_it_reads(checkout: Path) -> None:
    before = deploy.source_digest(checkout, PARAMETERS)
    assert deploy.source_digest(checkout, PARAMETERS) == before
    (checkout / "README.md").write_text("no part of a build")
    assert deploy.source_digest(checkout, PARAMETERS) == before
    (checkout / "stacks" / "data.yaml").write_text("Resources: {Table: {}}\n")
    assert deploy.source_digest(checkout, PARAMETERS) != before


def test_a_build_depends_on_where_the_cloud_is(checkout: Path) -> None:
    before = deploy.source_digest(checkout, PARAMETERS)
    assert deploy.source_digest(checkout, {**PARAMETERS, "PublicUrl": "http://localhost:1"}) != before


def test_an_unchanged_build_is_not_repeated(
    deployment: deploy.Deployment, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given
    built = home.build / "build" / "template.yaml"
    _stand_in_for_sam(tmp_path, monkeypatch, f"mkdir -p {built.parent}; echo built >> {built}")

    # Then
    assert deployment.build()
    assert not deployment.build()
    built.unlink()
    assert deployment.build()


def test_a_failed_build_says_why_and_is_repeated(
    deployment: deploy.Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stand_in_for_sam(tmp_path, monkeypatch, "echo Starting; echo 'Error: template is wrong'; exit 1")
    with pytest.raises(Problem) as raised:
        deployment.build()
    assert "sam build failed:\n    Error: template is wrong\n" in str(raised.value)
    with pytest.raises(Problem):
        deployment.build()


def test_sam_gets_the_operators_key_and_nothing_of_the_callers(
    deployment: deploy.Deployment, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a caller who is signed in to an account of theirs
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "theirs")
    seen = tmp_path / "seen"
    _stand_in_for_sam(tmp_path, monkeypatch, f"env > {seen}; echo $@ >> {seen}")

    # When
    deployment.deploy()

    # Then
    environment = seen.read_text()
    assert "AWS_ACCESS_KEY_ID=AKIAOPERATOR" in environment
    assert "AWS_ENDPOINT_URL=http://127.0.0.1:4566" in environment
    assert "production" not in environment
    assert "theirs" not in environment
    assert "--config-env local" in environment
    assert "--no-fail-on-empty-changeset" in environment


def test_a_password_reaches_sam_in_a_private_file_alone(
    deployment: deploy.Deployment, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given
    seen = tmp_path / "seen"
    _stand_in_for_sam(tmp_path, monkeypatch, f"env > {seen}; echo $@ >> {seen}")

    # When
    deployment.deploy()

    # Then
    told = seen.read_text()
    secrets = home.build / "secrets.yaml"
    assert "PgvectorHost=127.0.0.1" in told
    assert "t0p-s3cret" not in told
    assert f"file://{secrets}" in told
    assert yaml.safe_load(secrets.read_text()) == {
        "PgvectorPassword": "t0p-s3cret",
        "OpenSearchUrl": "",
        "OpenSearchUser": "",
        "OpenSearchPassword": "",
    }
    assert secrets.stat().st_mode & 0o077 == 0


def test_an_environment_loses_every_aws_setting() -> None:
    assert without_aws({"AWS_PROFILE": "x", "AWS_REGION": "y", "PATH": "z"}) == {"PATH": "z"}
