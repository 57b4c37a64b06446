"""Bodies of `POST /models` as clients of upstream send them, and rows made of them."""

from copy import deepcopy
from typing import Any

from lisa.models.record import ModelRecord
from lisa.models.schema import ModelDefinition

EXTERNAL: dict[str, Any] = {"modelId": "m1", "modelName": "openai/gpt-x", "modelType": "textgen"}

HOSTED: dict[str, Any] = {
    "modelId": "h1",
    "modelName": "org/weights",
    "modelType": "textgen",
    "inferenceContainer": "vllm",
    "instanceType": "g5.xlarge",
    "autoScalingConfig": {
        "minCapacity": 1,
        "maxCapacity": 1,
        "cooldown": 60,
        "defaultInstanceWarmup": 60,
        "metricConfig": {"duration": 60, "estimatedInstanceWarmup": 60},
    },
    "containerConfig": {
        "image": {"baseImage": "img:tag", "type": "asset"},
        "sharedMemorySize": 1024,
        "healthCheckConfig": {
            "command": ["CMD-SHELL", "exit 0"],
            "interval": 10,
            "startPeriod": 30,
            "timeout": 5,
            "retries": 3,
        },
    },
    "loadBalancerConfig": {
        "healthCheckConfig": {
            "path": "/health",
            "interval": 30,
            "timeout": 10,
            "healthyThresholdCount": 2,
            "unhealthyThresholdCount": 5,
        }
    },
}


def external(**changes: Any) -> dict[str, Any]:
    return {**EXTERNAL, **changes}


def hosted(path: str = "", value: Any = None, **changes: Any) -> dict[str, Any]:
    """The hosted body with the part at the dotted `path` replaced, and top-level changes."""
    body = deepcopy(HOSTED) | changes
    if path:
        *parents, last = path.split(".")
        part = body
        for name in parents:
            part = part.setdefault(name, {})
        part[last] = value
    return body


def record(body: dict[str, Any] | None = None, **changes: Any) -> ModelRecord:
    values: dict[str, Any] = {
        "definition": ModelDefinition.model_validate(body or EXTERNAL),
        "status": "Creating",
        "desired": "present",
        "generation": 7,
        "attempt": 1,
        "created_at": 1000,
        "updated_at": 1000,
        "created_by": "admin",
        "deadline": 2000,
    }
    return ModelRecord(**{**values, **changes})
