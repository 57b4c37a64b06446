"""The people of a local cloud: users in the deployed Cognito pool, their passwords, their tokens."""

from __future__ import annotations

import contextlib
import json
import secrets
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from lisa_local.cloud import LocalCloud
from lisa_local.component import write_private
from lisa_local.console import Problem
from lisa_local.home import read_json


@dataclass(frozen=True)
class User:
    name: str
    groups: tuple[str, ...]


USERS = (User("admin", ("admin",)), User("alice", ("user", "team-a")), User("bob", ("user", "team-b")))


def new_password() -> str:
    # The pool's policy may ask for each kind of character; the rest carries the randomness.
    return secrets.token_urlsafe(18) + "-aA1"


class Directory:
    def __init__(self, cloud: LocalCloud) -> None:
        self._cloud = cloud
        self._cognito = cloud.client("cognito-idp")
        self._pool = cloud.output("UserPoolId")

    def seed(self) -> int:
        """Make sure that every user exists and can sign in; returns how many were made or mended."""
        passwords = read_json(self._cloud.home.credentials) or {}
        missing = {user.name: new_password() for user in USERS if user.name not in passwords}
        if missing or not self._cloud.home.credentials.exists():
            # Written before they are set: a password that is set is never one that nobody knows.
            passwords.update(missing)
            write_private(self._cloud.home.credentials, json.dumps(passwords, indent=2) + "\n")
        self._cloud.home.credentials.chmod(0o600)
        changed = 0
        for user in USERS:
            try:
                self.token(user.name)
            except Problem:
                self.make(user, passwords[user.name])
                changed += 1
        return changed

    def token(self, name: str) -> str:
        """A fresh id token.

        Raises:
            Problem: there is no such user, or the password was changed.
        """
        passwords = read_json(self._cloud.home.credentials) or {}
        if name not in passwords:
            known = ", ".join(sorted(passwords)) or "none yet"
            raise Problem(f"There is no user {name} in {self._cloud.home.credentials} (there are: {known}).")
        try:
            answer = self._cognito.admin_initiate_auth(
                UserPoolId=self._pool,
                ClientId=self._cloud.output("ClientId"),
                AuthFlow="ADMIN_USER_PASSWORD_AUTH",
                AuthParameters={"USERNAME": name, "PASSWORD": passwords[name]},
            )
        except ClientError as error:
            code = error.response["Error"]["Code"]
            raise Problem(
                f"{name} cannot sign in ({code}): `lisa up` sets the password in "
                f"{self._cloud.home.credentials} again."
            ) from error
        return str(answer["AuthenticationResult"]["IdToken"])

    def make(self, user: User, password: str) -> None:
        """Make a user, or give one that exists this password."""
        with _ignoring("UsernameExistsException"):
            self._cognito.admin_create_user(
                UserPoolId=self._pool,
                Username=user.name,
                MessageAction="SUPPRESS",
                UserAttributes=[
                    {"Name": "email", "Value": f"{user.name}@example.com"},
                    {"Name": "email_verified", "Value": "true"},
                ],
            )
        for group in user.groups:
            # The templates bring the groups that LISA knows; teams are data.
            with _ignoring("GroupExistsException"):
                self._cognito.create_group(UserPoolId=self._pool, GroupName=group)
            self._cognito.admin_add_user_to_group(UserPoolId=self._pool, Username=user.name, GroupName=group)
        # Last: who can sign in is taken as complete.
        self._cognito.admin_set_user_password(
            UserPoolId=self._pool, Username=user.name, Password=password, Permanent=True
        )


@contextlib.contextmanager
def _ignoring(code: str) -> Any:
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] != code:
            raise
