"""What an EC2 instance type offers to the one model task that gets all of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from lisa.errors import InvalidRequest

# What the operating system and the ECS agent keep for themselves: a share for the kernel's own tables, and a bit.
KEPT_SHARE = 0.05
KEPT_MIB = 512


@dataclass(frozen=True, slots=True)
class InstanceSize:
    """CPU units (1024 are a vCPU), MiB and GPUs that a task may ask for; whether there are NVMe disks."""

    cpu: int
    memory: int
    gpus: int
    local_storage: bool


class Instances:
    """`client` makes an EC2 client; a costly one, needed for GPU models only."""

    def __init__(self, client: Callable[[], Any]) -> None:
        self._client = client

    def size(self, instance_type: str) -> InstanceSize:
        """Raises InvalidRequest for a type that the region does not have."""
        try:
            found = self._client().describe_instance_types(InstanceTypes=[instance_type])["InstanceTypes"]
        except ClientError as error:
            if not error.response["Error"]["Code"].startswith("InvalidInstanceType"):
                raise
            found = []
        if not found:
            raise InvalidRequest(
                f"There is no instance type {instance_type} in this region.", field="instanceType"
            )
        described = found[0]
        memory = described["MemoryInfo"]["SizeInMiB"]
        return InstanceSize(
            cpu=described["VCpuInfo"]["DefaultVCpus"] * 1024,
            memory=int(memory * (1 - KEPT_SHARE)) - KEPT_MIB,
            gpus=sum(gpu["Count"] for gpu in described.get("GpuInfo", {}).get("Gpus", [])),
            local_storage=bool(described.get("InstanceStorageSupported")),
        )
