"""A model's row in the models table: what is wanted, and what is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lisa.models.schema import Model, ModelDefinition, Status

Desired = Literal["present", "absent"]

# Beyond the model's own time to start, its workflow may need this long for all the rest. Seconds, like all here.
WORKFLOW_MARGIN = 300
EXTERNAL_SECONDS = 300
DELETE_SECONDS = 1800


def time_allowed(definition: ModelDefinition, desired: Desired, start_timeout: int) -> int:
    """How long the workflow for a wish may take."""
    if desired == "absent":
        return DELETE_SECONDS
    return start_timeout + WORKFLOW_MARGIN if definition.hosted else EXTERNAL_SECONDS


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """`generation` grows with each wish, `attempt` with each try to fulfil it. Times are seconds since the epoch.

    `deadline` is when the workflow must have ended; past it the reconciler settles the row.
    """

    definition: ModelDefinition
    status: Status
    desired: Desired
    generation: int
    attempt: int
    created_at: int
    updated_at: int
    created_by: str
    deadline: int
    reason: str | None = None
    secret_arn: str | None = None

    @property
    def model_id(self) -> str:
        return self.definition.model_id

    @property
    def settled(self) -> bool:
        """Whether no workflow is at work on it."""
        return self.status in ("InService", "Stopped", "Failed")

    def public(self) -> Model:
        """The model as callers see it."""
        return Model.model_validate(
            {**self.definition.stored(), "status": self.status, "reason": self.reason}
        )

    def item(self) -> dict[str, Any]:
        return {
            "pk": "MODEL",
            "sk": self.model_id,
            "definition": self.definition.stored(),
            "status": self.status,
            "reason": self.reason,
            "desired": self.desired,
            "generation": self.generation,
            "attempt": self.attempt,
            "createdAt": self.created_at,
            "updatedAt": self.updated_at,
            "createdBy": self.created_by,
            "deadline": self.deadline,
            "secretArn": self.secret_arn,
        }

    @classmethod
    def from_item(cls, item: Mapping[str, Any]) -> "ModelRecord":
        return cls(
            definition=ModelDefinition.model_validate(_integers(item["definition"])),
            status=item["status"],
            desired=item["desired"],
            generation=int(item["generation"]),
            attempt=int(item["attempt"]),
            created_at=int(item["createdAt"]),
            updated_at=int(item["updatedAt"]),
            created_by=item["createdBy"],
            deadline=int(item["deadline"]),
            reason=item.get("reason"),
            secret_arn=item.get("secretArn"),
        )


def _integers(value: Any) -> Any:
    """DynamoDB gives Decimals; every number in a definition is a whole one."""
    if isinstance(value, Mapping):
        return {name: _integers(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_integers(part) for part in value]
    if value is None or isinstance(value, (bool, str)):
        return value
    return int(value)
