"""Executions of the workflows on documents."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from botocore.exceptions import BotoCoreError, ClientError

from lisa.errors import Unavailable
from lisa.rag.ingestion.items import Work

if TYPE_CHECKING:
    from types_boto3_stepfunctions import SFNClient

ExecutionState = Literal["running", "ended", "unknown"]


class IngestionExecutions:
    """ARNs of the three machines; `client` must wait as long as an Express execution may run: five minutes.

    Starting one raises Unavailable when Step Functions does not take it.
    """

    def __init__(self, client: "SFNClient", *, ingest: str, delete: str, long: str) -> None:
        self._client = client
        self._ingest = ingest
        self._delete = delete
        self._long = long

    def run(self, work: Work, *, removal: bool) -> list[str] | None:
        """Runs a batch and waits for its end: ids of requests that need a long execution; None if it broke off."""
        with _taken():
            answer = self._client.start_sync_execution(
                stateMachineArn=self._delete if removal else self._ingest,
                name=work.work,
                input=json.dumps(work.as_state()),
            )
        if answer["status"] != "SUCCEEDED":
            return None
        long: list[str] = json.loads(answer["output"])["long"]
        return long

    def start_long(self, work: Work) -> None:
        with _taken():
            self._client.start_execution(
                stateMachineArn=self._long, name=work.work, input=json.dumps(work.as_state())
            )

    def state_of_long(self, name: str) -> ExecutionState:
        arn = self._long.replace(":stateMachine:", ":execution:") + f":{name}"
        try:
            status = self._client.describe_execution(executionArn=arn)["status"]
        except self._client.exceptions.ExecutionDoesNotExist:
            return "unknown"
        return "running" if status in ("RUNNING", "PENDING_REDRIVE") else "ended"


@contextmanager
def _taken() -> Iterator[None]:
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise Unavailable(f"Step Functions did not take an execution: {error}") from error
