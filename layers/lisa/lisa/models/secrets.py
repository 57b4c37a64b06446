"""Keys of external providers. They live in Secrets Manager only, under a name that belongs to the model."""

import secrets
from typing import TYPE_CHECKING

from lisa.models.naming import secret_name

if TYPE_CHECKING:
    from types_boto3_secretsmanager import SecretsManagerClient


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

    def forget(self, arn: str) -> None:
        """Deletes the key at once: nobody needs a provider's key back."""
        try:
            self._client.delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True)
        except self._client.exceptions.ResourceNotFoundException:
            return
