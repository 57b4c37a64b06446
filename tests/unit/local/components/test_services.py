"""ECS services on the emulator and the engine together."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable

import boto3
import pytest
import requests
from botocore.exceptions import ClientError
from lisa_local.emulator.bridges.services import one_at_a_time

from .conftest import SERVICE, Cloud, deploy, wait_for


@pytest.fixture
def cloud(new_cloud: Callable[..., Cloud]) -> Cloud:
    made = new_cloud()
    made.start("engine")
    made.start("emulator")
    return made


def containers(cloud: Cloud) -> list[dict]:
    return [
        each for each in _unix(cloud.home / "engine.sock", "/_lisa/containers") if each["status"] == "running"
    ]


def targets(cloud: Cloud) -> list[str]:
    groups = _unix(cloud.home / "emulator.sock", "/_lisa/balancers")["targetGroups"]
    return [target["id"] for group in groups.values() for target in group["targets"]]


def _unix(path, route: str):
    import http.client
    import socket

    connection = http.client.HTTPConnection("localhost", timeout=10)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(path))
    connection.request("GET", route)
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer


def get(address: str, path: str = "/") -> requests.Response:
    return requests.get(f"http://{address}:8090{path}", timeout=10)


def test_a_container_runs_as_its_task_role_and_with_nothing_of_ours(cloud: Cloud) -> None:
    # Given
    outputs = deploy(cloud, "svc", SERVICE)
    address = wait_for(lambda: targets(cloud), "a target")[0]
    # When
    environment = get(address, "/env").json()
    # Then: an address of the cloud's block, told to the container
    assert address.startswith(f"127.{cloud.block}.")
    assert (environment["HOST"], environment["PORT"]) == (address, "8090")
    # and the load balancer has one of the next block
    assert outputs["Address"].startswith(f"127.{cloud.block + 1}.")
    # and no keys, but an endpoint that gives the role's credentials
    assert not {name for name in environment if "ACCESS_KEY" in name}
    assert environment["AWS_ENDPOINT_URL"] == cloud.endpoint
    assert environment["FROM_IMAGE"] == "yes"
    uri, token = (
        environment["AWS_CONTAINER_CREDENTIALS_FULL_URI"],
        environment["AWS_CONTAINER_AUTHORIZATION_TOKEN"],
    )
    first, second = (requests.get(uri, headers={"Authorization": token}, timeout=10).json() for _ in "ab")
    assert first["AccessKeyId"] != second["AccessKeyId"]
    dynamodb = boto3.client(
        "dynamodb",
        endpoint_url=cloud.endpoint,
        region_name="us-east-1",
        aws_access_key_id=second["AccessKeyId"],
        aws_secret_access_key=second["SecretAccessKey"],
        aws_session_token=second["Token"],
    )
    assert dynamodb.scan(TableName=outputs["Allowed"])["Count"] == 0
    with pytest.raises(ClientError, match="AccessDenied"):
        dynamodb.scan(TableName=outputs["Refused"])
    # and nobody without the token
    for headers in ({}, {"Authorization": "wrong"}, {"Authorization": token[:-1]}):
        assert requests.get(uri, headers=headers, timeout=10).status_code == 403
    # and none any more when the task has stopped
    task = cloud.client("ecs").list_tasks(cluster="svc")["taskArns"][0]
    cloud.client("ecs").stop_task(cluster="svc", task=task)
    wait_for(
        lambda: requests.get(uri, headers={"Authorization": token}, timeout=10).status_code == 403,
        "the token of a stopped task to be refused",
    )


def test_output_reaches_cloudwatch_logs(cloud: Cloud) -> None:
    deploy(cloud, "svc", SERVICE)
    logs = cloud.client("logs")

    def messages() -> list[str]:
        return [event["message"] for event in logs.filter_log_events(logGroupName="/test/svc")["events"]]

    wait_for(lambda: any("listening" in message for message in messages()), "the log line")


def test_the_last_words_and_the_exit_code_of_a_failing_container_are_kept(cloud: Cloud) -> None:
    deploy(cloud, "svc", SERVICE, Exit="65")
    logs, ecs = cloud.client("logs"), cloud.client("ecs")

    def stopped() -> dict | None:
        arns = ecs.list_tasks(cluster="svc", desiredStatus="STOPPED")["taskArns"]
        tasks = ecs.describe_tasks(cluster="svc", tasks=arns[:1])["tasks"] if arns else []
        return tasks[0] if tasks else None

    task = wait_for(stopped, "a stopped task")
    assert task["containers"][0]["exitCode"] == 65
    wait_for(
        lambda: any(
            "bad weights" in event["message"]
            for event in logs.filter_log_events(logGroupName="/test/svc")["events"]
        ),
        "the container's last words",
    )


def test_a_task_whose_process_dies_is_replaced_at_another_address(cloud: Cloud) -> None:
    deploy(cloud, "svc", SERVICE)
    before = wait_for(lambda: targets(cloud), "a target")
    os.kill(containers(cloud)[0]["pid"], 9)
    wait_for(lambda: targets(cloud) and targets(cloud) != before, "the replacement")
    assert get(targets(cloud)[0]).status_code == 200


def test_tasks_are_replaced_when_the_engine_was_killed(cloud: Cloud) -> None:
    deploy(cloud, "svc", SERVICE, Tasks="2")
    before = wait_for(lambda: len(targets(cloud)) == 2 and targets(cloud), "two targets")
    pids = [each["pid"] for each in containers(cloud)]
    # When
    cloud.kill("engine")
    wait_for(
        lambda: not any(os.path.exists(f"/proc/{pid}/fd/0") for pid in pids), "containers to die with it"
    )
    cloud.start("engine")
    # Then
    wait_for(lambda: len(targets(cloud)) == 2 and not set(targets(cloud)) & set(before), "both replacements")
    assert len(containers(cloud)) == 2


def test_services_come_back_when_the_emulator_was_killed(cloud: Cloud) -> None:
    deploy(cloud, "svc", SERVICE)
    wait_for(lambda: targets(cloud), "a target")
    state = cloud.home / "emulator" / "state"
    wait_for(lambda: '"svc"' in (state / "cloudformation.json").read_text(), "a checkpoint")
    wait_for(lambda: "RUNNING" in (state / "ecs.json").read_text(), "a checkpoint of the task")
    # A checkpoint writes one service after the other: the one before may have seen the load balancer half made.
    balancers = state / "alb.json"
    wait_for(
        lambda: all(each in balancers.read_text() for each in targets(cloud)), "a checkpoint of the target"
    )
    old = {each["id"] for each in containers(cloud)}
    # When
    cloud.kill("emulator")
    cloud.start("emulator")
    # Then
    wait_for(lambda: {each["id"] for each in containers(cloud)} - old, "a new container")
    wait_for(lambda: any(get(each).ok for each in targets(cloud)), "the service to answer")
    assert not {each["id"] for each in containers(cloud)} & old


def test_stopping_a_task_brings_another(cloud: Cloud) -> None:
    deploy(cloud, "svc", SERVICE, Tasks="2")
    before = wait_for(lambda: len(targets(cloud)) == 2 and targets(cloud), "two targets")
    ecs = cloud.client("ecs")
    # When
    ecs.stop_task(cluster="svc", task=ecs.list_tasks(cluster="svc")["taskArns"][0])
    # Then
    wait_for(lambda: len(targets(cloud)) == 2 and targets(cloud) != before, "its replacement")


def test_a_rolling_update_waits_for_the_new_tasks_health(cloud: Cloud) -> None:
    # Given: a service whose next version is slow to start
    outputs = deploy(cloud, "svc", SERVICE, Name="one", ListenerPort="8083")
    cloud.start("door")
    wait_for(lambda: _answers(outputs["Url"]) == 200, "the load balancer")
    seen: list[tuple[int, str]] = []
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            answer = requests.get(outputs["Url"], timeout=10)
            seen.append((answer.status_code, answer.text.split()[0]))

    caller = threading.Thread(target=load)
    caller.start()
    # When
    deploy(cloud, "svc", SERVICE, Name="two", Delay="3", ListenerPort="8083")
    wait_for(lambda: seen[-1:] and seen[-1][1] == "two", "the new version")
    wait_for(lambda: len(containers(cloud)) == 1, "the old task to end")
    stop.set()
    caller.join()
    # Then
    assert {status for status, _ in seen} == {200}
    assert {name for _, name in seen} == {"one", "two"}


def _answers(url: str) -> int:
    try:
        return requests.get(url, timeout=5).status_code
    except requests.ConnectionError:
        return 0


def test_deleting_a_stack_leaves_no_process(cloud: Cloud) -> None:
    deploy(cloud, "svc", SERVICE, Tasks="2")
    wait_for(lambda: len(targets(cloud)) == 2, "two targets")
    cloudformation = cloud.client("cloudformation")
    cloudformation.delete_stack(StackName="svc")
    wait_for(lambda: not containers(cloud), "the processes to end", 20)


def test_a_service_is_looked_after_by_one_thread_at_a_time() -> None:
    # Given: somebody who counts the tasks of a service, and comes back to it from inside
    inside, other = threading.Event(), threading.Event()
    seen: list[str] = []

    def reconcile(_cluster: str, service: str) -> None:
        if threading.current_thread() is first and len(seen) == 0:
            seen.append("outer")
            look("c", service)
            inside.set()
            seen.append("alone" if not other.wait(0.3) else "together")
        elif threading.current_thread() is first:
            seen.append("inner")
        else:
            other.set()

    look = one_at_a_time(reconcile)
    first = threading.Thread(target=look, args=("c", "c/svc"))
    # When: another thread comes while the first is at it
    first.start()
    assert inside.wait(5)
    look("c", "c/svc")
    # Then: it waited, and had its turn
    first.join(5)
    assert seen == ["outer", "inner", "alone"]
    assert other.is_set()
