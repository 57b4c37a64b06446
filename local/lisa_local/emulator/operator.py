"""The one IAM user of the local cloud: deploys, seeds and reads buckets for the person at the terminal."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from urllib.parse import urlencode

from ministack.core.responses import request_scope
from ministack.services import iam

from lisa_local.component import ComponentError, Settings, write_private

logger = logging.getLogger("lisa.emulator.operator")

NAME = "operator"

POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Sid": "Deploy",
            "Effect": "Allow",
            "Action": [
                "cloudformation:CreateChangeSet",
                "cloudformation:DeleteChangeSet",
                "cloudformation:DeleteStack",
                "cloudformation:DescribeChangeSet",
                "cloudformation:DescribeStackEvents",
                "cloudformation:DescribeStackResource",
                "cloudformation:DescribeStackResources",
                "cloudformation:DescribeStacks",
                "cloudformation:ExecuteChangeSet",
                "cloudformation:GetTemplate",
                "cloudformation:GetTemplateSummary",
                "cloudformation:ListStackResources",
                "cloudformation:ListStacks",
            ],
            "Resource": "*",
        },
        {
            "Sid": "Buckets",
            "Effect": "Allow",
            "Action": [
                "s3:AbortMultipartUpload",
                "s3:CreateBucket",
                "s3:DeleteObject",
                "s3:DeleteObjectVersion",
                "s3:GetBucket*",
                "s3:GetEncryptionConfiguration",
                "s3:GetLifecycleConfiguration",
                "s3:GetObject*",
                "s3:ListAllMyBuckets",
                "s3:ListBucket*",
                "s3:ListMultipartUploadParts",
                "s3:PutBucket*",
                "s3:PutEncryptionConfiguration",
                "s3:PutLifecycleConfiguration",
                "s3:PutObject",
                "s3:PutObjectTagging",
            ],
            "Resource": "*",
        },
        {
            "Sid": "Users",
            "Effect": "Allow",
            "Action": [
                "cognito-idp:AdminAddUserToGroup",
                "cognito-idp:AdminCreateUser",
                "cognito-idp:AdminGetUser",
                "cognito-idp:AdminInitiateAuth",
                "cognito-idp:AdminListGroupsForUser",
                "cognito-idp:AdminRemoveUserFromGroup",
                "cognito-idp:AdminSetUserPassword",
                "cognito-idp:AdminUpdateUserAttributes",
                "cognito-idp:CreateGroup",
                "cognito-idp:DescribeUserPool",
                "cognito-idp:DescribeUserPoolClient",
                "cognito-idp:GetGroup",
                "cognito-idp:ListGroups",
                "cognito-idp:ListUserPoolClients",
                "cognito-idp:ListUserPools",
                "cognito-idp:ListUsers",
                "cognito-idp:ListUsersInGroup",
            ],
            "Resource": "*",
        },
        {
            "Sid": "ReplaceTasks",
            "Effect": "Allow",
            "Action": "ecs:StopTask",
            "Resource": "*",
        },
        {
            # Whoever runs the cloud may listen to its bus, by a queue and a rule of their own.
            "Sid": "ListenToEvents",
            "Effect": "Allow",
            "Action": [
                "events:DeleteRule",
                "events:PutRule",
                "events:PutTargets",
                "events:RemoveTargets",
                "sqs:CreateQueue",
                "sqs:DeleteMessage",
                "sqs:DeleteQueue",
                "sqs:GetQueueUrl",
                "sqs:ReceiveMessage",
                "sqs:SendMessage",
                "sqs:SetQueueAttributes",
            ],
            "Resource": "*",
        },
        {
            "Sid": "LookAround",
            "Effect": "Allow",
            "Action": [
                "apigateway:GET",
                "cloudwatch:GetMetric*",
                "cloudwatch:ListMetrics",
                "dynamodb:DescribeTable",
                "dynamodb:GetItem",
                "dynamodb:ListTables",
                "dynamodb:Query",
                "dynamodb:Scan",
                "ecs:Describe*",
                "ecs:List*",
                "elasticloadbalancing:Describe*",
                "events:Describe*",
                "events:List*",
                "lambda:GetFunction",
                "lambda:GetFunctionConfiguration",
                "lambda:ListFunctions",
                "logs:Describe*",
                "logs:FilterLogEvents",
                "logs:GetLogEvents",
                "secretsmanager:DescribeSecret",
                "secretsmanager:ListSecrets",
                "sqs:GetQueue*",
                "sqs:ListQueues",
                "ssm:GetParameter",
                "ssm:GetParameters",
                "states:Describe*",
                "states:GetExecutionHistory",
                "states:List*",
                "sts:GetCallerIdentity",
            ],
            "Resource": "*",
        },
    ],
}


async def ensure(settings: Settings) -> None:
    """Create the user and its key, once, and write the key to `operator.json`.

    Nobody else can: no key is root over HTTP. A key file that does not fit the emulator's state (one of the
    two was restored or removed) is replaced.
    """
    path = settings.home / "operator.json"
    with request_scope(settings.account, settings.region):
        if not await _exists():
            await _call(Action="CreateUser", UserName=NAME)
        await _call(Action="PutUserPolicy", UserName=NAME, PolicyName=NAME, PolicyDocument=json.dumps(POLICY))
        stored = _stored(path)
        keys = await _key_ids()
        if stored is not None and stored in keys:
            return
        for key in keys:
            await _call(Action="DeleteAccessKey", UserName=NAME, AccessKeyId=key)
        answer = await _call(Action="CreateAccessKey", UserName=NAME)
        key, secret = _tag(answer, "AccessKeyId"), _tag(answer, "SecretAccessKey")
    write_private(path, json.dumps({"access_key_id": key, "secret_access_key": secret}) + "\n")
    logger.info("created a key for the user %s", NAME)


def _stored(path: Path) -> str | None:
    try:
        stored = json.loads(path.read_text())
        return str(stored["access_key_id"]) if stored.get("secret_access_key") else None
    except (OSError, ValueError, KeyError, AttributeError):
        return None


async def _request(**parameters: str) -> tuple[int, str]:
    status, _, body = await iam.handle_request(
        "POST", "/", {"content-type": "application/x-www-form-urlencoded"}, urlencode(parameters).encode(), {}
    )
    return status, body.decode() if isinstance(body, bytes) else body


async def _call(**parameters: str) -> str:
    status, body = await _request(**parameters)
    if status >= 400:
        raise ComponentError(f"IAM refused {parameters['Action']} for the user {NAME}: {body[:300]}")
    return body


async def _exists() -> bool:
    status, _ = await _request(Action="GetUser", UserName=NAME)
    return status == 200


async def _key_ids() -> list[str]:
    return re.findall(
        r"<AccessKeyId>([^<]+)</AccessKeyId>", await _call(Action="ListAccessKeys", UserName=NAME)
    )


def _tag(body: str, name: str) -> str:
    found = re.search(f"<{name}>([^<]+)</{name}>", body)
    if found is None:
        raise ComponentError(f"IAM's answer holds no {name}.")
    return found[1]
