"""What runs here is reachable from this machine only, and holds no key but its own role's."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import boto3
import psutil
import pytest
from botocore.exceptions import ClientError
from lisa_local import processes

from tests.cloud import TestCloud


def test_every_listening_socket_is_on_loopback(cloud: TestCloud) -> None:
    listening = processes.listeners({process.pid for process in cloud.processes()})
    assert {listener.port for listener in listening} >= {
        cloud.local.config.ports.door,
        cloud.local.config.ports.emulator,
        cloud.local.config.ports.postgres,
    }
    elsewhere = [each for each in listening if not ipaddress.ip_address(each.address).is_loopback]
    assert elsewhere == []


def test_no_process_of_the_cloud_holds_the_operators_or_a_root_key(cloud: TestCloud) -> None:
    # Given functions and containers that have worked
    assert cloud.call("GET", "/api/models").status == 200
    assert cloud.chat().status == 200
    operator = cloud.local.operator
    functions = {process.pid for process in cloud.functions()}
    containers = {process.pid for process in cloud.containers("")}

    # When every process is looked at, the emulator's host too: it has keys in its memory and its state alone
    held: dict[int, dict[str, str]] = {}
    for process in cloud.processes():
        try:
            held[process.pid] = process.environ()
            words = " ".join(process.cmdline())
        except psutil.Error:
            continue
        assert operator["secret_access_key"] not in words

    # Then
    assert len(functions & set(held)) >= 2
    assert len(containers & set(held)) >= 2
    for environment in held.values():
        assert operator["secret_access_key"] not in " ".join(environment.values())
        assert operator["access_key_id"] not in " ".join(environment.values())
        key = environment.get("AWS_ACCESS_KEY_ID")
        # A role's session key, or none: containers fetch theirs from the credentials endpoint.
        assert key is None or key.startswith("ASIA"), "a long-lived key"


def test_the_operators_secret_lies_where_the_operator_looks_for_it_and_nowhere_else(cloud: TestCloud) -> None:
    secret = cloud.local.operator["secret_access_key"].encode()
    holding = {
        path
        for path in cloud.home.path.rglob("*")
        if path.is_file()
        and not path.is_symlink()
        and not path.is_relative_to(cloud.home.path / "weights")
        and _holds(path, secret)
    }
    state = cloud.home.path / "emulator" / "state"
    assert cloud.home.operator in holding
    # `env` is what a person's shell reads.
    assert {path for path in holding if path.parent != state} <= {cloud.home.operator, cloud.home.env}
    for path in holding:
        assert path.stat().st_mode & 0o077 == 0, f"{path} can be read by others"


def _holds(path: Path, secret: bytes) -> bool:
    try:
        return secret in path.read_bytes()
    except FileNotFoundError:  # a temporary file of something at work
        return False


def test_a_wrong_secret_and_the_emulators_own_root_keys_are_refused(cloud: TestCloud) -> None:

    operator = cloud.local.operator
    wrong = [
        ("test", "test"),
        ("000000000000", "anything"),
        (operator["access_key_id"], "not-the-secret"),
    ]
    for key, secret in wrong:
        client = boto3.client(
            "dynamodb",
            endpoint_url=cloud.local.config.emulator_url,
            region_name="us-east-1",
            aws_access_key_id=key,
            aws_secret_access_key=secret,
        )
        with pytest.raises(ClientError) as raised:
            client.list_tables()
        assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] in {400, 403}
