"""Keys of external providers. They live in Secrets Manager only, under a name that belongs to the model."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lisa.models.naming import secret_name

if TYPE_CHECKING:
    from types_boto3_secretsmanager import SecretsManagerClient


@dataclass(frozen=True, slots=True)
class KeptKey:
    """A key that is kept for a model; `created_at` in seconds since the epoch."""

    arn: str
    model_id: str
    created_at: float


class ProviderKeys:
    def __init__(self, deployment: str, client: "SecretsManagerClient") -> None:
        self._deployment = deployment
        self._client = client

    def keep(self, model_id: str, key: str) -> str:
        """Stores the key under a name of its own and returns the secret's ARN.

        Two creates of one model at once must not write over each other's key; who loses forgets its own.
        """
        created = self._client.create_secret(
            Name=f"{secret_name(self._deployment, model_id)}-{secrets.token_hex(4)}",
            SecretString=key,
            Tags=[
                {"Key": "lisa:deployment", "Value": self._deployment},
                {"Key": "lisa:model", "Value": model_id},
            ],
        )
        return created["ARN"]

    def kept(self) -> Iterator[KeptKey]:
        """Every provider's key of this deployment."""
        prefix = f"{self._deployment}/models/"
        pages = self._client.get_paginator("list_secrets").paginate(
            Filters=[{"Key": "name", "Values": [prefix]}]
        )
        for page in pages:
            for secret in page["SecretList"]:
                tags = {tag["Key"]: tag["Value"] for tag in secret.get("Tags", [])}
                if secret["Name"].startswith(prefix) and "lisa:model" in tags:
                    yield KeptKey(secret["ARN"], tags["lisa:model"], secret["CreatedDate"].timestamp())

    def forget(self, arn: str) -> None:
        """Deletes the key at once: nobody needs a provider's key back."""
        try:
            self._client.delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True)
        except self._client.exceptions.ResourceNotFoundException:
            return
