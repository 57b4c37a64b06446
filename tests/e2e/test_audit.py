"""Who did what is found by administrators, and no secret is in it."""

import json
import uuid
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest

from tests.cloud import eventually, function

pytestmark = pytest.mark.cloud
WITHIN = 60
DELETE = "DELETE /api/models/{modelId}"


@pytest.fixture(scope="module")
def canary():
    return f"canary-{uuid.uuid4().hex}"


@pytest.fixture(scope="module")
def history(cloud, canary):
    """A model made and deleted by the admin, and what bob and a bad token were refused; with when it began."""
    since = datetime.now(UTC).isoformat(timespec="seconds")
    model = f"audit-{uuid.uuid4().hex[:8]}"
    body = {"modelId": model, "modelName": "openai/gpt-4o-mini", "modelType": "textgen", "apiKey": canary}
    assert cloud.call("POST", "/api/models", body=body).status == 201
    # Twice, because API Gateway keeps the authorizer's verdict
    for _ in range(2):
        assert cloud.call("DELETE", f"/api/models/{model}", user="bob").status == 403
    for path in ("/api/models", "/v1/models"):
        assert cloud.local.call("GET", path, token=canary).status == 401
    eventually(
        "the model in service",
        lambda: cloud.call("GET", f"/api/models/{model}").body["model"]["status"] == "InService",
        within=120,
    )
    assert cloud.call("DELETE", f"/api/models/{model}").status == 200
    return since, model


def find(cloud, since, **query):
    answer = cloud.call("GET", f"/api/audit?{urlencode({'from': since, **query})}")
    assert answer.status == 200, answer
    return answer.body["events"]


def test_writes_and_refusals_are_found_by_user_route_and_time(cloud, history):
    since, model = history

    def outcomes(**query):
        return [
            (event["actor"]["user"], event["action"], event["outcome"]["status"])
            for event in find(cloud, since, **query)
            if event["object"]["id"] == model
        ]

    admins = [("admin", DELETE, 200), ("admin", "POST /api/models", 201)]
    bobs = [("bob", DELETE, 403)] * 2
    eventually("the admin's writes", lambda: outcomes(user="admin") == admins, within=WITHIN)
    eventually("both of bob's refused writes", lambda: outcomes(user="bob") == bobs, within=WITHIN)
    assert outcomes(route=DELETE) == [admins[0], *bobs]
    assert outcomes() == [admins[0], *bobs, admins[1]]
    assert find(cloud, "2000-01-01", to="2000-01-02") == []


def test_sign_ins_and_refused_tokens_are_found_with_their_door(cloud, history):
    since, _ = history
    fresh = cloud.token("alice")
    for path in ("/api/models", "/v1/models", "/api/models"):
        assert cloud.local.call("GET", path, token=fresh).status == 200

    def doors(result):
        found = find(cloud, since, route="sign-in", pageSize="100")
        return {event["door"] for event in found if event["outcome"]["result"] == result}

    eventually("refusals at both doors", lambda: doors("denied") >= {"api", "gateway"}, within=WITHIN)
    eventually("alice's sign-in", lambda: find(cloud, since, route="sign-in", user="alice"), within=WITHIN)


def test_nobody_else_may_ask(cloud):
    assert cloud.call("GET", "/api/audit", user="bob").status == 403


def test_no_secret_is_in_events_tables_or_logs(cloud, history, canary):
    since, model = history
    eventually("the events", lambda: find(cloud, since, user="bob"), within=WITHIN)
    # Given everything that the audit log and the functions' logs hold
    secrets = [canary, cloud.token("admin"), cloud.token("bob")]
    table = cloud.local.client("dynamodb")
    name = function(cloud, "AuditRecord")["Environment"]["Variables"]["LISA_AUDIT_TABLE"]
    pages = table.get_paginator("scan").paginate(TableName=name)
    rows = json.dumps([page["Items"] for page in pages])
    assert model in rows
    logs = cloud.local.client("logs")
    lines = "".join(
        event["message"]
        for group in logs.describe_log_groups()["logGroups"]
        for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"])
        for event in page["events"]
    )
    assert '"message":"call"' in lines
    for secret in secrets:
        assert secret not in rows
        assert secret not in lines
