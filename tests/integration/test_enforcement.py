"""IAM decides: what a role loses, its function can no longer do."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from tests.cloud import TestCloud, eventually, function, functions

STACK = "test-without-query"


@pytest.fixture
def without_query(cloud: TestCloud) -> Iterator[None]:
    """The role of the function behind `/api/models` without dynamodb:Query, until the test's end.

    The operator may deploy and may not touch IAM, so a stack takes the permission away: a denial wins over what the
    role allows (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html).
    """
    role = function(cloud, "ModelsApi")["Role"].rsplit("/", 1)[-1]
    denial = {"Effect": "Deny", "Action": "dynamodb:Query", "Resource": "*"}
    policy = {
        "Type": "AWS::IAM::Policy",
        "Properties": {
            "PolicyName": STACK,
            "Roles": [role],
            "PolicyDocument": {"Version": "2012-10-17", "Statement": [denial]},
        },
    }
    stacks = cloud.session.client("cloudformation")
    stacks.create_change_set(
        StackName=STACK,
        ChangeSetName="create",
        ChangeSetType="CREATE",
        Capabilities=["CAPABILITY_IAM"],
        TemplateBody=json.dumps({"Resources": {"Policy": policy}}),
    )
    stacks.get_waiter("change_set_create_complete").wait(
        StackName=STACK, ChangeSetName="create", WaiterConfig={"Delay": 1, "MaxAttempts": 30}
    )
    stacks.execute_change_set(StackName=STACK, ChangeSetName="create")
    try:
        stacks.get_waiter("stack_create_complete").wait(
            StackName=STACK, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )
        yield
    finally:
        stacks.delete_stack(StackName=STACK)
        stacks.get_waiter("stack_delete_complete").wait(
            StackName=STACK, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )


def test_a_permission_that_is_taken_away_is_missed(cloud: TestCloud, request: pytest.FixtureRequest) -> None:
    # Given a call that needs dynamodb:Query, and one of the same function that does not
    assert cloud.call("GET", "/api/models").status == 200
    before = int(time.time() * 1000)

    # When the permission is gone
    request.getfixturevalue("without_query")
    refused = cloud.call("GET", "/api/models")

    # Then the call fails in the shape of all errors, without the reason, which is in the log
    assert refused.status == 500, refused
    assert set(refused.body) == {"message", "code", "requestId"}
    assert refused.body["code"] == "internal_error"
    assert "AccessDenied" not in str(refused.body)
    group = function(cloud, "ModelsApi")["LoggingConfig"]["LogGroup"]

    def said() -> list[str]:
        events = cloud.session.client("logs").filter_log_events(logGroupName=group, startTime=before)
        lines = [event["message"] for event in events["events"]]
        return [line for line in lines if refused.body["requestId"] in line and "AccessDenied" in line]

    assert "dynamodb:Query" in eventually("a line of the log that says why", said, within=20)[0]
    # And what needs other permissions goes on
    assert cloud.call("GET", "/api/models/smollm2-135m").status == 200


def test_what_is_given_back_works_again(cloud: TestCloud) -> None:
    """After the stack of the test before has gone."""
    assert cloud.call("GET", "/api/models").status == 200


def test_each_function_has_a_role_of_its_own_and_no_key_in_its_environment(cloud: TestCloud) -> None:
    found = functions(cloud)
    roles = [each["Role"] for each in found]
    assert len(roles) == len(set(roles)), "two functions share a role"
    for each in found:
        variables = each.get("Environment", {}).get("Variables", {})
        # How botocore finds the emulator's state machines is no key.
        aws = {name for name in variables if name.startswith("AWS_")} - {"AWS_DISABLE_HOST_PREFIX_INJECTION"}
        assert not aws, each["FunctionName"]
