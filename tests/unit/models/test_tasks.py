import time

import pytest
from lisa import aws as clients
from lisa.models.tasks import Tasks


class Ecs:
    """A service's stopped tasks: exit codes, or reasons why they never started."""

    def __init__(self, *stopped: int | str) -> None:
        self.stopped = stopped
        self.exceptions = clients.ecs().exceptions

    def list_tasks(self, cluster: str, serviceName: str, desiredStatus: str):
        assert (cluster, serviceName, desiredStatus) == ("lisa", "service", "STOPPED")
        return {"taskArns": [f"task/{number}" for number in range(len(self.stopped))]}

    def describe_tasks(self, cluster: str, tasks: list[str]):
        return {"tasks": [self._task(stop) for stop in self.stopped]}

    @staticmethod
    def _task(stop):
        if isinstance(stop, int):
            return {
                "lastStatus": "STOPPED",
                "containers": [{"exitCode": stop}],
                "stoppedReason": "Essential container exited",
            }
        return {
            "lastStatus": "STOPPED",
            "containers": [{"reason": stop}],
            "stoppedReason": "Task failed to start",
        }


@pytest.fixture
def tasks(aws):
    """The tasks of a service whose log has two lines."""

    def of(*stopped):
        return Tasks(Ecs(*stopped), clients.logs())

    logs = clients.logs()
    logs.create_log_group(logGroupName="/lisa/models/m")
    logs.create_log_stream(logGroupName="/lisa/models/m", logStreamName="model/1")
    logs.put_log_events(
        logGroupName="/lisa/models/m",
        logStreamName="model/1",
        logEvents=[
            {"timestamp": int(time.time() * 1000) + number, "message": line}
            for number, line in enumerate(["loading weights", "lisa_model: no config.json in the weights"])
        ],
    )
    return of


def failure(tasks, log_group="/lisa/models/m"):
    return tasks.failure("lisa", "service", log_group)


def test_a_service_without_stopped_tasks_may_still_come(tasks):
    assert failure(tasks()) is None


def test_one_exit_may_be_an_accident_two_are_not(tasks):
    assert failure(tasks(1)) is None
    assert "exited with code 1" in failure(tasks(1, 1))


@pytest.mark.parametrize("code", [64, 65])
def test_what_trying_again_cannot_mend_fails_at_once(tasks, code):
    assert f"exited with code {code}" in failure(tasks(code))


def test_an_image_that_cannot_be_pulled_fails_at_once(tasks):
    reason = failure(tasks("CannotPullContainerError: no such image"))
    assert "CannotPullContainerError: no such image" in reason


def test_running_out_of_memory_is_said_so(tasks):
    assert "out of memory" in failure(tasks(137, 137))


def test_the_reason_ends_with_the_last_lines_of_the_log(tasks):
    reason = failure(tasks(65))
    assert reason.endswith("loading weights\nlisa_model: no config.json in the weights")


def test_a_log_that_is_not_there_is_said_so(tasks):
    assert "log is empty" in failure(tasks(65), "/lisa/models/other")


def test_before_the_service_is_there_nothing_has_failed(aws):
    # moto answers for a cluster and a service that do not exist as ECS does.
    assert Tasks(clients.ecs(), clients.logs()).failure("lisa", "service", "/lisa/models/m") is None
