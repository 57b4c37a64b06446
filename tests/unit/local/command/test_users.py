"""Users are made once, can sign in, and their passwords are known to one file only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from lisa_local.bringup.users import USERS, Directory
from lisa_local.console import Problem
from lisa_local.home import Home
from moto import mock_aws


class PoolInMoto:
    """What `Directory` needs of a deployed cloud."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.cognito = boto3.client("cognito-idp", region_name="us-east-1")
        pool = self.cognito.create_user_pool(PoolName="lisa")["UserPool"]["Id"]
        self.cognito.create_group(UserPoolId=pool, GroupName="admin")
        app = self.cognito.create_user_pool_client(
            UserPoolId=pool, ClientName="lisa", ExplicitAuthFlows=["ALLOW_ADMIN_USER_PASSWORD_AUTH"]
        )
        self._outputs = {"UserPoolId": pool, "ClientId": app["UserPoolClient"]["ClientId"]}

    def client(self, _: str) -> Any:
        return self.cognito

    def output(self, name: str) -> str:
        return self._outputs[name]

    def groups(self, user: str) -> set[str]:
        answer = self.cognito.admin_list_groups_for_user(Username=user, UserPoolId=self.output("UserPoolId"))
        return {group["GroupName"] for group in answer["Groups"]}


@pytest.fixture
def pool(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[PoolInMoto]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        yield PoolInMoto(home)


def test_every_user_can_sign_in_and_is_in_their_groups(pool: PoolInMoto) -> None:
    # When
    made = Directory(pool).seed()  # type: ignore[arg-type]

    # Then
    assert made == len(USERS)
    for user in USERS:
        assert Directory(pool).token(user.name).count(".") == 2  # type: ignore[arg-type]
        assert pool.groups(user.name) == set(user.groups)
    assert pool.home.credentials.stat().st_mode & 0o777 == 0o600
    assert set(json.loads(pool.home.credentials.read_text())) == {"admin", "alice", "bob"}


def test_seeding_again_keeps_users_and_passwords(pool: PoolInMoto) -> None:
    Directory(pool).seed()  # type: ignore[arg-type]
    before = pool.home.credentials.read_text()
    assert Directory(pool).seed() == 0  # type: ignore[arg-type]
    assert pool.home.credentials.read_text() == before


def test_a_seeding_that_was_interrupted_is_completed(
    pool: PoolInMoto, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given Ctrl-C before a user's groups are set
    def interrupted(**_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pool.cognito, "admin_add_user_to_group", interrupted)
        with pytest.raises(KeyboardInterrupt):
            Directory(pool).seed()  # type: ignore[arg-type]

    # When
    Directory(pool).seed()  # type: ignore[arg-type]

    # Then
    assert pool.groups("admin") == {"admin"}


def test_lost_credentials_are_made_anew(pool: PoolInMoto) -> None:
    # Given
    Directory(pool).seed()  # type: ignore[arg-type]
    pool.home.credentials.unlink()

    # When
    assert Directory(pool).seed() == len(USERS)  # type: ignore[arg-type]

    # Then
    assert Directory(pool).token("alice")  # type: ignore[arg-type]


def test_an_unknown_user_is_said_with_those_that_are_known(pool: PoolInMoto) -> None:
    Directory(pool).seed()  # type: ignore[arg-type]
    with pytest.raises(Problem, match=r"no user mallory .*\(there are: admin, alice, bob\)"):
        Directory(pool).token("mallory")  # type: ignore[arg-type]
