"""What a model's ECS tasks and its log tell about why it does not start."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types_boto3_ecs import ECSClient
    from types_boto3_logs import CloudWatchLogsClient

LOG_LINES = 12
LOG_CHARACTERS = 1500
# The entrypoint ends so when trying again cannot help: a wrong configuration (64), wrong weights (65).
HOPELESS_EXIT_CODES = frozenset({64, 65})
EXITS_THAT_DECIDE = 2


@dataclass(frozen=True, slots=True)
class StoppedTask:
    exit_code: int | None
    reason: str

    @property
    def hopeless(self) -> bool:
        return self.exit_code in HOPELESS_EXIT_CODES or self.reason.startswith("CannotPull")


class Tasks:
    def __init__(self, ecs: "ECSClient", logs: "CloudWatchLogsClient") -> None:
        self._ecs = ecs
        self._logs = logs

    def failure(self, cluster: str, service: str, log_group: str) -> str | None:
        """Why the service will not come up, in a sentence with the log's last lines; None while it may."""
        stopped = self._stopped(cluster, service)
        decisive = next((task for task in stopped if task.hopeless), None)
        if decisive is None and len(stopped) >= EXITS_THAT_DECIDE:
            decisive = stopped[-1]
        if decisive is None:
            return None
        if decisive.exit_code is not None:
            sentence = f"The model server exited with code {decisive.exit_code}"
            if decisive.exit_code == 137:
                sentence += " (killed: most often out of memory)"
        else:
            sentence = f"The model server did not start: {decisive.reason or 'ECS gave no reason'}"
        return sentence + self.last_words(log_group)

    def last_words(self, log_group: str) -> str:
        """The log's last lines, ready to follow a sentence."""
        lines = self._lines(log_group)
        if not lines:
            return ". Its log is empty."
        text = "\n".join(lines)[-LOG_CHARACTERS:]
        return f". The last lines of its log:\n{text}"

    def _stopped(self, cluster: str, service: str) -> list[StoppedTask]:
        try:
            arns = self._ecs.list_tasks(cluster=cluster, serviceName=service, desiredStatus="STOPPED")[
                "taskArns"
            ]
        except (self._ecs.exceptions.ServiceNotFoundException, self._ecs.exceptions.ClusterNotFoundException):
            return []  # the stack has not come so far
        if not arns:
            return []
        tasks = self._ecs.describe_tasks(cluster=cluster, tasks=arns[:100])["tasks"]
        found = []
        for task in tasks:
            if task.get("lastStatus") != "STOPPED":
                continue
            containers = task.get("containers", [])
            codes = [c["exitCode"] for c in containers if c.get("exitCode") is not None]
            reasons = [c["reason"] for c in containers if c.get("reason")] + [task.get("stoppedReason", "")]
            found.append(StoppedTask(codes[0] if codes else None, reasons[0]))
        return found

    def _lines(self, log_group: str) -> list[str]:
        try:
            streams = self._logs.describe_log_streams(
                logGroupName=log_group, orderBy="LastEventTime", descending=True, limit=1
            )["logStreams"]
            if not streams:
                return []
            events = self._logs.get_log_events(
                logGroupName=log_group,
                logStreamName=streams[0]["logStreamName"],
                limit=LOG_LINES,
                startFromHead=False,
            )["events"]
        except self._logs.exceptions.ResourceNotFoundException:
            return []
        return [event["message"].rstrip() for event in events]
