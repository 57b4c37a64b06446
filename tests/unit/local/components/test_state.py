"""What the emulator holds survives a stop, a crash and a damaged file."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from lisa_local.component import ComponentError
from lisa_local.emulator import generations

from .conftest import Cloud, deploy, wait_for

TABLE = """
Resources:
  Table:
    Type: AWS::DynamoDB::Table
    Properties:
      TableName: things
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{AttributeName: pk, AttributeType: S}]
      KeySchema: [{AttributeName: pk, KeyType: HASH}]
"""


@pytest.fixture
def cloud(new_cloud: Callable[..., Cloud]) -> Cloud:
    made = new_cloud()
    made.start("emulator")
    deploy(made, "data", TABLE)
    made.client("s3").create_bucket(Bucket="things")
    return made


def tables(cloud: Cloud) -> list[str]:
    return cloud.client("dynamodb").list_tables()["TableNames"]


def state(cloud: Cloud, service: str) -> Path:
    return cloud.home / "emulator" / "state" / f"{service}.json"


def test_a_graceful_stop_keeps_everything_and_the_operators_key(cloud: Cloud) -> None:
    key = cloud.operator
    cloud.client("s3").put_object(Bucket="things", Key="one", Body=b"1")
    assert cloud.stop("emulator") == 0
    cloud.start("emulator")
    assert tables(cloud) == ["things"]
    assert cloud.client("s3").get_object(Bucket="things", Key="one")["Body"].read() == b"1"
    assert cloud.operator == key


def test_a_crash_loses_five_seconds_at_most(cloud: Cloud) -> None:
    wait_for(lambda: '"things"' in state(cloud, "dynamodb").read_text(), "a checkpoint", 6)
    wait_for(lambda: '"data"' in state(cloud, "cloudformation").read_text(), "a checkpoint", 6)
    cloud.kill("emulator")
    cloud.start("emulator")
    assert tables(cloud) == ["things"]
    deploy(cloud, "data", TABLE.replace("TableName: things", "TableName: other"))
    assert tables(cloud) == ["other"]


def test_a_damaged_file_is_replaced_by_the_generation_before(cloud: Cloud) -> None:
    # Given: two generations of a file
    wait_for(lambda: '"things"' in state(cloud, "dynamodb").read_text(), "a checkpoint", 6)
    deploy(cloud, "more", TABLE.replace("things", "more"))
    wait_for(lambda: '"more"' in state(cloud, "dynamodb").read_text(), "another checkpoint", 6)
    cloud.kill("emulator")
    # When
    file = state(cloud, "dynamodb")
    file.write_text(file.read_text()[:-20])
    cloud.start("emulator")
    # Then
    assert "things" in tables(cloud)
    assert "was damaged: went back to the copy saved before it" in cloud.log("emulator")


def test_it_does_not_start_on_state_that_cannot_be_read(cloud: Cloud) -> None:
    cloud.stop("emulator")
    for name in ("dynamodb.json", "dynamodb.json.previous"):
        state(cloud, "dynamodb").with_name(name).write_text("{")
    command = [sys.executable, "-m", "lisa_local.emulator", str(cloud.home)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode == 1
    assert "dynamodb.json is damaged and so is the copy before it" in result.stderr.splitlines()[-1]


def test_it_says_in_a_sentence_that_its_port_is_taken(cloud: Cloud) -> None:
    command = [sys.executable, "-m", "lisa_local.emulator", str(cloud.home)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode == 1
    assert str(cloud.ports["emulator"]) in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


def test_state_files_are_for_their_owner_alone(cloud: Cloud) -> None:
    wait_for(lambda: state(cloud, "dynamodb").exists(), "a checkpoint", 6)
    assert all(path.stat().st_mode & 0o077 == 0 for path in (cloud.home / "emulator").rglob("*"))


def test_a_file_is_written_only_when_its_content_changed(tmp_path: Path) -> None:
    writer = generations.StateWriter(tmp_path)
    assert writer.write("s", json.dumps({"a": 1}))
    assert not writer.write("s", json.dumps({"a": 1}))
    assert writer.write("s", json.dumps({"a": 2}))
    assert json.loads((tmp_path / "s.json").read_text()) == {"a": 2}
    assert json.loads((tmp_path / ("s.json" + generations.PREVIOUS)).read_text()) == {"a": 1}


def test_recovery_refuses_when_both_generations_are_damaged(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "s.json").write_text("[]")
    with pytest.raises(ComponentError, match=r"s\.json is damaged"):
        generations.recover(tmp_path)
