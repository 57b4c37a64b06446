"""Containers get the credentials of their task role, over the endpoint that the AWS SDKs know.

As shipped a container is given an endpoint whose credentials belong to no role. Here the environment of each
container names our endpoint and a token of its own, and each answer is a new session of the task role.
"""

from __future__ import annotations

import hmac
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ministack.core.responses import request_scope
from ministack.services import ecs, sts

from lisa_local.emulator.bridges.seams import Bridge, Context, original, replace

PATH = "/_lisa/container-credentials"

LIFETIME = 3600
"""Seconds; SDKs ask again some minutes before the end."""


@dataclass(frozen=True, slots=True)
class Task:
    arn: str
    role: str
    account: str
    region: str


def install(context: Context) -> None:
    settings = context.settings
    register = original(ecs, "_register_metadata")
    for name in ("_assumed_role_arn", "_role_id", "register_session", "_sessions"):
        original(sts, name)
    original(ecs, "_tasks")

    def register_metadata(
        task_arn: str, cluster_arn: str, td: dict[str, Any], cdef: dict[str, Any], launch_type: str,
        env: dict[str, str], host_mode: bool, ministack_net_ip: str | None,
    ) -> Any:  # fmt: skip
        token = register(task_arn, cluster_arn, td, cdef, launch_type, env, host_mode, ministack_net_ip)
        for name in [name for name in env if name.startswith("AWS_CONTAINER_")]:
            del env[name]
        env["ECS_CONTAINER_METADATA_URI_V4"] = f"{settings.emulator_url}/v4/{token}"
        env["AWS_ENDPOINT_URL"] = settings.emulator_url
        env["AWS_REGION"] = env["AWS_DEFAULT_REGION"] = settings.region
        env["AWS_EC2_METADATA_DISABLED"] = "true"
        env["AWS_DISABLE_HOST_PREFIX_INJECTION"] = "true"
        if role := td.get("taskRoleArn"):
            authorization = secrets.token_urlsafe(32)
            _forget_stopped(context)
            context.tokens[authorization] = Task(task_arn, role, settings.account, settings.region)
            env["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = settings.emulator_url + PATH
            env["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = authorization
        return token

    replace(ecs, "_register_metadata", register_metadata)


def _stopped(task: Task) -> bool:
    record = ecs._tasks.get_scoped(task.account, task.region, task.arn)
    return record is None or record.get("lastStatus") == "STOPPED"


def _forget_stopped(context: Context) -> None:
    for authorization, task in list(context.tokens.items()):
        if _stopped(task):
            context.tokens.pop(authorization, None)


def issue(context: Context, authorization: str) -> dict[str, str] | None:
    """Credentials for the container that holds this token; None when no running task has it."""
    task = next(
        (
            task
            for token, task in list(context.tokens.items())
            if hmac.compare_digest(token.encode(), authorization.encode())
        ),
        None,
    )
    if task is None or _stopped(task):
        return None
    key = "ASIA" + secrets.token_hex(8).upper()
    secret, token = secrets.token_urlsafe(30), secrets.token_urlsafe(64)
    expiration = time.time() + LIFETIME
    session = task.arn.rsplit("/", 1)[-1]
    with request_scope(task.account, task.region):
        arn, problem = sts._assumed_role_arn(task.role, session)
        if problem:
            return None
        sts.register_session(
            key,
            {
                "Arn": arn,
                "UserId": f"{sts._role_id(task.role)}:{session}",
                "SecretAccessKey": secret,
                "SessionToken": token,
                "Expiration": expiration,
                "AccountId": task.role.split(":")[4],
                "PrincipalType": "AssumedRole",
            },
        )
    return {
        "RoleArn": task.role,
        "AccessKeyId": key,
        "SecretAccessKey": secret,
        "Token": token,
        "Expiration": datetime.fromtimestamp(expiration, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


BRIDGE = Bridge("container-credentials", "containers act as their task role", install)
