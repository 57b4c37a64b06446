"""Starting and finding the workflows that fulfil wishes."""

import json
from typing import TYPE_CHECKING, Any, Literal

from lisa.models.naming import execution_name
from lisa.models.record import ModelRecord
from lisa.settings import Settings

if TYPE_CHECKING:
    from types_boto3_stepfunctions import SFNClient

ExecutionState = Literal["running", "succeeded", "failed", "unknown"]


class Executions:
    """Executions have names made of (model, generation, attempt): a wish delivered twice is worked on once."""

    def __init__(self, settings: Settings, client: "SFNClient") -> None:
        self._settings = settings
        self._client = client

    def start(self, record: ModelRecord) -> None:
        try:
            self._client.start_execution(
                stateMachineArn=self._machine(record),
                name=execution_name(record.model_id, record.generation, record.attempt),
                # References only: what is in a workflow's input can be read by everyone who may look at it.
                input=json.dumps(
                    {
                        "modelId": record.model_id,
                        "generation": record.generation,
                        "attempt": record.attempt,
                    }
                ),
            )
        except self._client.exceptions.ExecutionAlreadyExists:
            return

    def state(self, record: ModelRecord) -> tuple[ExecutionState, str | None]:
        """Where the row's execution is, and why it failed. An execution may be lost altogether: `unknown`."""
        name = execution_name(record.model_id, record.generation, record.attempt)
        arn = self._machine(record).replace(":stateMachine:", ":execution:") + f":{name}"
        try:
            answer: Any = self._client.describe_execution(executionArn=arn)
        except self._client.exceptions.ExecutionDoesNotExist:
            return "unknown", None
        status = answer["status"]
        if status in ("RUNNING", "PENDING_REDRIVE"):
            return "running", None
        if status == "SUCCEEDED":
            return "succeeded", None
        return "failed", answer.get("error") or status

    def _machine(self, record: ModelRecord) -> str:
        if record.desired == "absent":
            return self._settings.delete_state_machine_arn
        return self._settings.create_state_machine_arn
