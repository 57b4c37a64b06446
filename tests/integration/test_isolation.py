"""What runs here is reachable from this machine only, and holds no key but its own role's."""

from __future__ import annotations

import ipaddress
import json

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


def test_no_function_or_container_holds_the_operators_or_a_root_key(cloud: TestCloud) -> None:
    # Given functions and containers that have worked
    assert cloud.call("GET", "/api/models").status == 200
    assert cloud.chat().status == 200
    operator = json.loads(cloud.home.operator.read_text())
    held: dict[int, dict[str, str]] = {}
    for process in [*cloud.functions(), *cloud.containers("")]:
        try:
            held[process.pid] = process.environ()
        except psutil.Error:
            continue

    # Then
    assert len(held) >= 4
    for environment in held.values():
        assert operator["secret_access_key"] not in environment.values()
        assert operator["access_key_id"] not in environment.values()
        key = environment.get("AWS_ACCESS_KEY_ID")
        # A role's session key, or none: containers fetch theirs from the credentials endpoint.
        assert key is None or key.startswith("ASIA"), "a long-lived key"


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
