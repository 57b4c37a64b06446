"""AWS clients, made when first asked for: each costs start-up time, and no function needs them all."""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_ecs import ECSClient
    from types_boto3_events import EventBridgeClient
    from types_boto3_logs import CloudWatchLogsClient
    from types_boto3_s3 import S3Client
    from types_boto3_secretsmanager import SecretsManagerClient
    from types_boto3_stepfunctions import SFNClient

_CONFIG = Config(connect_timeout=3, read_timeout=10, retries={"mode": "standard", "max_attempts": 4})


@lru_cache
def dynamodb() -> "DynamoDBClient":
    return boto3.client("dynamodb", config=_CONFIG)


def impatient_dynamodb() -> "DynamoDBClient":
    """For work that keeps a caller waiting; in a session of its own, since any thread may make it."""
    config = Config(connect_timeout=2, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 2})
    return boto3.session.Session().client("dynamodb", config=config)


@lru_cache
def s3() -> "S3Client":
    # By itself boto3 signs forms and links the old way, which newer regions refuse, and the emulator some of it.
    return boto3.client("s3", config=_CONFIG.merge(Config(signature_version="s3v4")))


@lru_cache
def secrets_manager() -> "SecretsManagerClient":
    return boto3.client("secretsmanager", config=_CONFIG)


@lru_cache
def cloudformation() -> "CloudFormationClient":
    return boto3.client("cloudformation", config=_CONFIG)


@lru_cache
def ecs() -> "ECSClient":
    return boto3.client("ecs", config=_CONFIG)


@lru_cache
def logs() -> "CloudWatchLogsClient":
    return boto3.client("logs", config=_CONFIG)


@lru_cache
def events() -> "EventBridgeClient":
    return boto3.client("events", config=_CONFIG)


@lru_cache
def audit_bus() -> "EventBridgeClient":
    """For what a caller waits for: it gives up within seconds, long before the function's own time is over."""
    config = Config(connect_timeout=1, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 3})
    return boto3.client("events", config=config)


@lru_cache
def step_functions() -> "SFNClient":
    return boto3.client("stepfunctions", config=_CONFIG)


@lru_cache
def patient_step_functions() -> "SFNClient":
    """Waits for an Express execution to its end, five minutes at most, and starts none twice."""
    config = Config(
        connect_timeout=3, read_timeout=310, retries={"mode": "standard", "total_max_attempts": 1}
    )
    return boto3.client("stepfunctions", config=config)


@lru_cache
def scheduler() -> Any:
    return boto3.client("scheduler", config=_CONFIG)


@lru_cache
def functions() -> Any:
    return boto3.client("lambda", config=_CONFIG)


@lru_cache
def sqs() -> Any:
    return boto3.client("sqs", config=_CONFIG)


@lru_cache
def ec2() -> Any:  # its type stubs are larger than all the others together
    return boto3.client("ec2", config=_CONFIG)
