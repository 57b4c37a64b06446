"""The custom resource that prepares the database: CloudFormation always gets its answer."""

from __future__ import annotations

import json
import socket
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import boto3
import pytest

from tests.unit.functions.samples import sample


class Answers(BaseHTTPRequestHandler):
    def do_PUT(self) -> None:
        length = int(self.headers["Content-Length"])
        self.server.answers.append(json.loads(self.rfile.read(length)))  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def cloudformation():
    server = HTTPServer(("127.0.0.1", 0), Answers)
    server.answers = []
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def event(server: HTTPServer, kind: str) -> dict[str, Any]:
    return sample("database_prepare") | {
        "RequestType": kind,
        "ResponseURL": f"http://127.0.0.1:{server.server_port}/answer",
    }


def test_a_deletion_has_nothing_to_do(cloudformation, invoke) -> None:
    invoke("database_prepare", event(cloudformation, "Delete"))
    (answer,) = cloudformation.answers
    assert answer["Status"] == "SUCCESS"
    assert answer["LogicalResourceId"] == "Database"


def test_a_database_that_cannot_be_reached_fails_the_deployment_and_says_so(cloudformation, invoke) -> None:
    # Given: a secret, and a port that nobody listens on
    secret = boto3.client("secretsmanager").create_secret(
        Name="owner", SecretString='{"username": "lisa_owner", "password": "s3cret-of-the-owner"}'
    )
    asked = event(cloudformation, "Create")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        asked["ResourceProperties"] |= {
            "Host": "127.0.0.1",
            "Port": str(probe.getsockname()[1]),
            "OwnerSecret": secret["ARN"],
        }

        # When
        invoke("database_prepare", asked)

    # Then
    (answer,) = cloudformation.answers
    assert answer["Status"] == "FAILED"
    assert answer["PhysicalResourceId"] == "127.0.0.1/lisa"
    assert "could not be prepared" in answer["Reason"]
    assert "s3cret" not in json.dumps(answer)


def test_an_update_keeps_its_name(cloudformation, invoke) -> None:
    asked = event(cloudformation, "Delete") | {"PhysicalResourceId": "old.example.com/lisa"}
    invoke("database_prepare", asked)
    assert cloudformation.answers[0]["PhysicalResourceId"] == "old.example.com/lisa"
