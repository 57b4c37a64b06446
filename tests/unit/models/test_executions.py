import json

import pytest
from lisa import aws as clients
from lisa.models.executions import Executions
from lisa.models.naming import execution_name
from lisa.settings import Settings

from tests.unit.models.bodies import external, record

ROLE = "arn:aws:iam::123456789012:role/states"
DEFINITION = json.dumps(
    {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 600, "End": True}}}
)


@pytest.fixture
def client(aws):
    return clients.step_functions()


@pytest.fixture
def executions(client):
    create, delete = (
        client.create_state_machine(name=name, definition=DEFINITION, roleArn=ROLE)["stateMachineArn"]
        for name in ("create", "delete")
    )
    settings = Settings(create_state_machine_arn=create, delete_state_machine_arn=delete)
    return Executions(settings, client)


def running(client, machine):
    arn = f"arn:aws:states:us-east-1:123456789012:stateMachine:{machine}"
    return client.list_executions(stateMachineArn=arn)["executions"]


def test_the_machine_follows_the_wish(client, executions):
    executions.start(record())
    executions.start(record(desired="absent", generation=8))
    assert [e["name"] for e in running(client, "create")] == [execution_name("m1", 7, 1)]
    assert [e["name"] for e in running(client, "delete")] == [execution_name("m1", 8, 1)]


def test_a_wish_delivered_twice_is_worked_on_once(client, executions):
    executions.start(record())
    executions.start(record())
    assert len(running(client, "create")) == 1


def test_only_references_travel_in_the_input(client, executions):
    # Given
    body = external(apiKey="sk-very-secret", modelUrl="http://127.0.0.1:1")

    # When
    executions.start(record(body, secret_arn="arn:secret"))

    # Then
    arn = running(client, "create")[0]["executionArn"]
    given = json.loads(client.describe_execution(executionArn=arn)["input"])
    assert given == {"modelId": "m1", "generation": 7, "attempt": 1}


def test_where_an_execution_is(client, executions):
    # Given
    row = record()
    assert executions.state(row) == ("unknown", None)

    # Then
    executions.start(row)
    assert executions.state(row) == ("running", None)
    arn = running(client, "create")[0]["executionArn"]
    client.stop_execution(executionArn=arn, error="Stopped", cause="by hand")
    state, error = executions.state(row)
    assert state == "failed"
    assert error
