"""Starting and finding the workflows that fulfil wishes for repositories and collections."""

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lisa.rag.records import Collection, CollectionStatus, Repository, RepositoryStatus
from lisa.rag.repositories.store import Row
from lisa.settings import Settings

if TYPE_CHECKING:
    from types_boto3_stepfunctions import SFNClient

ExecutionState = Literal["running", "succeeded", "failed", "unknown"]


@dataclass(frozen=True, slots=True)
class Wish:
    """What a workflow was started for. Without `collection_id` it is about the repository."""

    repository_id: str
    collection_id: str
    version: int
    attempt: int

    @classmethod
    def of(cls, event: dict[str, Any]) -> "Wish":
        return cls(
            str(event["repositoryId"]),
            str(event["collectionId"]),
            int(event["version"]),
            int(event["attempt"]),
        )

    @classmethod
    def for_row(cls, row: Row) -> "Wish":
        kept = row.record
        if isinstance(kept, Repository):
            return cls(kept.id, "", kept.version, row.attempt)
        return cls(kept.repository_id, kept.id, kept.version, row.attempt)

    def input(self) -> dict[str, Any]:
        return {
            "repositoryId": self.repository_id,
            "collectionId": self.collection_id,
            "version": self.version,
            "attempt": self.attempt,
        }

    @property
    def name(self) -> str:
        """Deterministic, so that a record delivered twice starts one execution (at most 80 characters)."""
        digest = hashlib.sha256(f"{self.repository_id}\n{self.collection_id}".encode()).digest()
        short = base64.b32encode(digest).decode().lower()[:12]
        return f"{self.repository_id}-{short}-{self.version}-{self.attempt}"


class Executions:
    def __init__(self, settings: Settings, client: "SFNClient") -> None:
        self._client = client
        self._of_repository = {
            RepositoryStatus.CREATE_IN_PROGRESS: settings.repository_create_state_machine_arn,
            RepositoryStatus.UPDATE_IN_PROGRESS: settings.repository_update_state_machine_arn,
            RepositoryStatus.DELETE_IN_PROGRESS: settings.repository_delete_state_machine_arn,
        }
        # What has changed of a collection that is there is brought to its store as when it was made.
        self._of_collection = {
            CollectionStatus.CREATE_IN_PROGRESS: settings.collection_create_state_machine_arn,
            CollectionStatus.ACTIVE: settings.collection_create_state_machine_arn,
            CollectionStatus.ARCHIVED: settings.collection_create_state_machine_arn,
            CollectionStatus.DELETE_IN_PROGRESS: settings.collection_delete_state_machine_arn,
        }

    def start(self, row: Row) -> None:
        """Starts the workflow that a row asks for by its status, if any."""
        machine = self._machine(row.record)
        if machine is None:
            return
        wish = Wish.for_row(row)
        try:
            # References only: what is in a workflow's input can be read by everyone who may look at it.
            self._client.start_execution(
                stateMachineArn=machine, name=wish.name, input=json.dumps(wish.input())
            )
        except self._client.exceptions.ExecutionAlreadyExists:
            return

    def state(self, row: Row) -> tuple[ExecutionState, str]:
        """Where the row's execution is, and why it failed. An execution may be lost altogether: `unknown`."""
        machine = self._machine(row.record)
        if machine is None:
            return "succeeded", ""
        arn = machine.replace(":stateMachine:", ":execution:") + f":{Wish.for_row(row).name}"
        try:
            answer: Any = self._client.describe_execution(executionArn=arn)
        except self._client.exceptions.ExecutionDoesNotExist:
            return "unknown", ""
        status = answer["status"]
        if status in ("RUNNING", "PENDING_REDRIVE"):
            return "running", ""
        if status == "SUCCEEDED":
            return "succeeded", ""
        return "failed", str(answer.get("error") or status)

    def _machine(self, kept: Repository | Collection) -> str | None:
        if isinstance(kept, Repository):
            return self._of_repository.get(kept.status)
        return self._of_collection.get(kept.status)
