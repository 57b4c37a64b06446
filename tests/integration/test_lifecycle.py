"""The local cloud comes up from nothing, again without a change, and again after `down`, data and all."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from lisa_local import processes

from tests.cloud import LISA, ROOT, TestCloud, eventually, modes, new_cloud, read_env


def test_it_comes_up_from_nothing_and_says_how_to_use_it(cloud: TestCloud) -> None:
    if cloud.first_up is None:
        pytest.skip("LISA_TEST_HOME: this cloud was not started by this run")

    # Then each step was shown, with its time, and the commands for a first chat
    said = cloud.first_up.stdout
    for step in ("checks", "postgres ready", "sam build", "sam deploy", "users", "smollm2-135m in service"):
        assert step in said
    assert f"export OPENAI_BASE_URL={cloud.serve_url} OPENAI_API_KEY=$(" in said
    assert cloud.chat().status == 200


def test_the_first_chat_works_as_it_is_printed(cloud: TestCloud) -> None:
    # Given
    said = cloud.up().stdout.splitlines()
    start = next(number for number, line in enumerate(said) if "export OPENAI_BASE_URL" in line)
    commands = "\n".join(line.strip() for line in said[start : start + 2])

    # When
    shell = subprocess.Popen(
        ["/bin/sh", "-euc", commands],
        env=cloud.environment(),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        # The small model rambles at times, and slowly while other work runs.
        answer, errors = shell.communicate(timeout=240)
    finally:
        # A client left behind would keep the model busy.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)

    # Then
    assert shell.returncode == 0, errors
    assert answer.strip()


def test_a_second_up_changes_nothing(cloud: TestCloud) -> None:
    # Given
    before = cloud.outputs
    pids = {name: report["pid"] for name, report in cloud.supervisor().components.items()}
    gateways = {process.pid for process in cloud.containers("lisa_gateway")}
    stacks = _stacks(cloud)

    # When
    said = cloud.up().stdout

    # Then
    assert "unchanged since the last build" in said
    assert cloud.outputs == before
    assert {name: report["pid"] for name, report in cloud.supervisor().components.items()} == pids
    assert {process.pid for process in cloud.containers("lisa_gateway")} == gateways
    assert _stacks(cloud) == stacks


def test_data_survives_down_and_up(cloud: TestCloud) -> None:
    # Given
    bucket = cloud.outputs["WeightsBucket"]
    cloud.session.client("s3").put_object(Bucket=bucket, Key="kept/file", Body=b"kept")
    model = {
        "modelId": "kept",
        "modelName": "openai/none",
        "modelType": "textgen",
        "modelUrl": "http://127.0.0.1:9/v1",
    }
    assert cloud.call("POST", "/api/models", body=model).status == 201
    eventually("kept InService", lambda: _status(cloud, "kept") == "InService", within=60)
    before = cloud.outputs

    # When
    cloud.down()
    assert cloud.control.status() is None
    assert processes.belonging_to(cloud.home.path) == []
    cloud.up()

    # Then
    assert cloud.outputs == before
    assert cloud.session.client("s3").get_object(Bucket=bucket, Key="kept/file")["Body"].read() == b"kept"
    assert _status(cloud, "kept") == "InService"
    assert cloud.chat().status == 200
    assert cloud.call("DELETE", "/api/models/kept").status in {200, 202}
    eventually("kept gone", lambda: cloud.call("GET", "/api/models/kept").status == 404, within=60)


def test_tokens_are_alone_on_stdout(cloud: TestCloud) -> None:
    for user in ("admin", "alice", "bob"):
        result = cloud.lisa("token", "--user", user)
        assert result.returncode == 0, result.stderr
        token = result.stdout.removesuffix("\n")
        assert token.count(".") == 2
        assert "\n" not in token
    assert "There is no user mallory" in cloud.lisa("token", "--user", "mallory").stderr


def test_files_with_secrets_are_their_owners_only(cloud: TestCloud) -> None:
    found = modes(cloud.home)
    assert {name: oct(mode) for name, mode in found.items() if mode & 0o077} == {}


def test_env_names_everything_another_tool_needs(cloud: TestCloud) -> None:
    env = read_env(cloud.home.env)
    assert env["LISA_UI_URL"] == cloud.url
    assert env["LISA_API_URL"] == cloud.api_url
    assert env["LISA_SERVE_URL"] == cloud.serve_url
    assert env["AWS_ENDPOINT_URL"] == cloud.local.config.emulator_url
    assert env["AWS_DEFAULT_REGION"] == "us-east-1"
    assert env["AWS_ACCESS_KEY_ID"] == cloud.local.operator["access_key_id"]
    assert env["AWS_SECRET_ACCESS_KEY"] == cloud.local.operator["secret_access_key"]


def test_status_and_doctor_find_all_well(cloud: TestCloud) -> None:
    status = cloud.lisa("status")
    assert status.returncode == 0, status.stdout + status.stderr
    for word in ("postgres", "engine", "emulator", "door", "smollm2-135m", "InService"):
        assert word in status.stdout
    doctor = cloud.lisa("doctor")
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr


def test_weights_are_pushed_once(cloud: TestCloud, tmp_path: Path) -> None:
    # Given
    (tmp_path / "model.bin").write_bytes(os.urandom(2_000_000))

    # When
    first = cloud.lisa("models", "push", str(tmp_path), "--name", "org/pushed")
    second = cloud.lisa("models", "push", str(tmp_path), "--name", "org/pushed")

    # Then
    assert "1 files uploaded" in first.stdout, first.stderr
    assert "0 files uploaded" in second.stdout, second.stderr
    stored = cloud.session.client("s3").get_object(
        Bucket=cloud.outputs["WeightsBucket"], Key="org/pushed/model.bin"
    )
    assert stored["Body"].read() == (tmp_path / "model.bin").read_bytes()


def test_interrupting_up_leaves_no_process_and_another_cloud_alone(cloud: TestCloud) -> None:
    # Given a second cloud on its way up beside the first
    path = ROOT / ".test" / "interrupted"
    shutil.rmtree(path, ignore_errors=True)
    second = new_cloud(path)
    starting = subprocess.Popen(
        [str(LISA), "up"],
        env=second.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    eventually("the second cloud's door", lambda: second.component_pid("door"), within=60)

    # When
    starting.send_signal(signal.SIGINT)
    output, _ = starting.communicate(timeout=60)

    # Then
    assert starting.returncode == 130, output
    assert processes.belonging_to(path) == []
    assert not second.control.running()
    assert cloud.chat().status == 200
    shutil.rmtree(path)


def test_a_taken_port_is_one_sentence_with_the_mend(cloud: TestCloud) -> None:
    # Given
    path = ROOT / ".test" / "taken"
    shutil.rmtree(path, ignore_errors=True)
    second = new_cloud(path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(second.environment()["LISA_PORT"])))
        taken.listen()

        # When
        result = second.lisa("up")

    # Then
    assert result.returncode == 1
    assert f"in use by process {os.getpid()}" in result.stderr
    assert "make up" in result.stderr
    assert "Traceback" not in result.stderr
    assert processes.belonging_to(path) == []
    shutil.rmtree(path)


def _status(cloud: TestCloud, model_id: str) -> str | None:
    answer = cloud.call("GET", f"/api/models/{model_id}")
    return answer.body["model"]["status"] if answer.status == 200 else None


def _stacks(cloud: TestCloud) -> dict[str, object]:
    stacks = cloud.session.client("cloudformation").describe_stacks()["Stacks"]
    return {stack["StackName"]: stack.get("LastUpdatedTime", stack["CreationTime"]) for stack in stacks}
