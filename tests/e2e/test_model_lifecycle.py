"""Models come and go: hosted, external, and the ones that cannot work."""

import time
from typing import Any

import openai
import pytest

from tests.cloud import eventually
from tests.e2e.conftest import http

pytestmark = pytest.mark.cloud

EMBED = "all-minilm-l6-v2"


def copy_of(model: dict[str, Any], model_id: str, **changes: Any) -> dict[str, Any]:
    """What GET answered, to be posted again under another name."""
    return {**model, "modelId": model_id, **changes}


def embed(cloud: Any, model_id: str) -> list[float]:
    with openai.OpenAI(
        base_url=cloud.serve_url, api_key=cloud.token("alice"), max_retries=0, timeout=60
    ) as client:
        return client.embeddings.create(model=model_id, input="x").data[0].embedding


def traces(cloud: Any, model_id: str) -> dict[str, list[str]]:
    """Everything in the cloud that a model could leave behind."""
    from lisa.models.naming import short_name

    short, boto = short_name(model_id), cloud.session.client
    stacks = boto("cloudformation").describe_stacks()["Stacks"]
    found = {
        "stacks": [
            s["StackName"]
            for s in stacks
            if short in s["StackName"] and s["StackStatus"] != "DELETE_COMPLETE"
        ],
        "rules": [],
        "target groups": [
            g["TargetGroupName"]
            for g in boto("elbv2").describe_target_groups()["TargetGroups"]
            if short in g["TargetGroupName"]
        ],
        "log groups": [
            g["logGroupName"]
            for g in boto("logs").describe_log_groups()["logGroups"]
            if short in g["logGroupName"]
        ],
        "secrets": [
            s["Name"] for s in boto("secretsmanager").list_secrets()["SecretList"] if short in s["Name"]
        ],
        "items": [],
    }
    for balancer in boto("elbv2").describe_load_balancers()["LoadBalancers"]:
        listeners = boto("elbv2").describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
        for listener in listeners:
            rules = boto("elbv2").describe_rules(ListenerArn=listener["ListenerArn"])["Rules"]
            found["rules"] += [r["RuleArn"] for r in rules if short in str(r["Conditions"])]
    for item in boto("dynamodb").scan(TableName=cloud.outputs["ModelsTable"])["Items"]:
        pk, sk = item["pk"]["S"], item["sk"]["S"]
        if pk != "GATEWAY" and model_id in (sk, item.get("modelId", {}).get("S")):
            found["items"].append(f"{pk}/{sk}")
    return found


def test_a_hosted_model_comes_serves_and_leaves_nothing_behind(cloud, admin, alice):
    # Given
    model_id = "minilm-copy"
    definition = copy_of(admin.model(EMBED), model_id)
    # When
    created = admin.create(**definition)
    assert created["status"] == "Creating"
    ready = admin.await_status(model_id, "InService", "Failed", within=60)
    # Then
    assert ready["status"] == "InService", ready["reason"]
    assert ready["reason"] is None
    assert len(embed(cloud, model_id)) == 384
    assert traces(cloud, model_id)["stacks"]
    # When
    admin.delete(model_id)
    # Then
    gone = http(
        "POST",
        f"{cloud.serve_url}/embeddings",
        token=alice.token,
        json_body={"model": model_id, "input": "x"},
    )
    assert (gone.status, gone.body["error"]["code"]) == (404, "model_not_found")
    left = {kind: names for kind, names in traces(cloud, model_id).items() if names}
    assert left == {}


def test_missing_weights_fail_within_30_seconds_and_name_the_place(cloud, admin):
    started = time.monotonic()
    admin.create(**copy_of(admin.model(EMBED), "no-weights", modelName="nobody/nothing"))
    failed = admin.await_status("no-weights", "Failed", within=30)
    assert time.monotonic() - started < 30
    assert "nobody/nothing" in failed["reason"]
    assert "s3://" in failed["reason"]
    assert not traces(cloud, "no-weights")["stacks"]
    admin.delete("no-weights")


def test_a_server_that_exits_fails_with_its_last_words_and_removes_what_it_made(cloud, admin):
    # Given weights that no engine can read
    bucket = cloud.outputs["WeightsBucket"]
    s3 = cloud.session.client("s3")
    s3.put_object(Bucket=bucket, Key="broken/model/model.gguf", Body=b"this is no model")
    try:
        # When
        admin.create(**copy_of(admin.model("smollm2-135m"), "broken", modelName="broken/model"))
        starting = http(
            "POST",
            f"{cloud.serve_url}/chat/completions",
            token=admin.token,
            json_body={"model": "broken", "messages": [{"role": "user", "content": "hi"}]},
        )
        failed = admin.await_status("broken", "Failed", within=150)
    finally:
        s3.delete_object(Bucket=bucket, Key="broken/model/model.gguf")
    # Then
    assert starting.status in {404, 503}  # 503 as soon as the workflow has announced it
    if starting.status == 503:
        assert int(starting.headers["retry-after"]) > 0
    assert "exit" in failed["reason"].lower()
    assert "gguf" in failed["reason"].lower()
    left = {kind: names for kind, names in traces(cloud, "broken").items() if names}
    assert left == {"items": ["MODEL/broken"]}
    admin.delete("broken")


def test_a_server_that_never_answers_its_health_route_fails_within_its_limit(cloud, admin):
    # Given a model that is well, but for the route by which it is to say so
    definition = copy_of(admin.model(EMBED), "never-healthy")
    definition["loadBalancerConfig"]["healthCheckConfig"]["path"] = "/never"
    # When
    admin.create(**definition)
    failed = admin.await_status("never-healthy", "Failed", within=240)
    # Then
    assert "/never" in failed["reason"]
    assert "log" in failed["reason"]
    left = {kind: names for kind, names in traces(cloud, "never-healthy").items() if names}
    assert left == {"items": ["MODEL/never-healthy"]}
    admin.delete("never-healthy")


def test_an_external_model_is_routed_with_its_key_kept_secret(cloud, admin, alice, provider):
    # Given
    definition = {
        "modelId": "outside",
        "modelName": "openai/smollm2",
        "modelType": "textgen",
        "modelUrl": provider.url,
        "apiKey": provider.key,
    }
    # When
    created = admin.create(**definition)
    ready = admin.await_status("outside", "InService", within=30)
    # Then
    assert "apiKey" not in created
    assert provider.key not in str(ready)
    with openai.OpenAI(
        base_url=cloud.serve_url,
        api_key=alice.token,
        max_retries=0,
        timeout=120,
        _strict_response_validation=True,
    ) as client:
        asked = {"model": "outside", "messages": [{"role": "user", "content": "Say hello"}], "max_tokens": 8}
        answer = client.chat.completions.create(**asked)
        assert answer.choices[0].message.content
        assert answer.usage.completion_tokens > 0
        chunks = list(client.chat.completions.create(**asked, stream=True))
        assert len([c for c in chunks if c.choices and c.choices[0].delta.content]) > 1
    # And nothing that is stored or logged holds the key
    stored = cloud.session.client("dynamodb").scan(TableName=cloud.outputs["ModelsTable"])["Items"]
    assert provider.key not in str(stored)
    admin.delete("outside")
    assert {kind: names for kind, names in traces(cloud, "outside").items() if names} == {}


def test_a_provider_that_is_down_is_unavailable_not_an_internal_error(cloud, admin, alice, free_port):
    admin.create(
        modelId="down",
        modelName="openai/x",
        modelType="textgen",
        modelUrl=f"http://127.0.0.1:{free_port}/v1",
        apiKey="k-irrelevant",
    )
    admin.await_status("down", "InService", within=30)
    answer = http(
        "POST",
        f"{cloud.serve_url}/chat/completions",
        token=alice.token,
        json_body={"model": "down", "messages": [{"role": "user", "content": "hi"}]},
    )
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) > 0
    assert answer.body["error"]["message"]
    admin.delete("down")


def test_a_model_for_one_group_does_not_exist_for_another(cloud, admin, alice, bob, provider):
    admin.create(
        modelId="team-a-only",
        modelName="openai/smollm2",
        modelType="textgen",
        modelUrl=provider.url,
        apiKey=provider.key,
        allowedGroups=["team-a"],
    )
    admin.await_status("team-a-only", "InService", within=30)
    body = {"model": "team-a-only", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}
    assert (
        http("POST", f"{cloud.serve_url}/chat/completions", token=alice.token, json_body=body).status == 200
    )
    for path in ("chat/completions", "completions", "responses", "embeddings"):
        hidden = http(
            "POST",
            f"{cloud.serve_url}/{path}",
            token=bob.token,
            json_body={**body, "prompt": "x", "input": "x"},
        )
        assert (path, hidden.status, hidden.body["error"]["code"]) == (path, 404, "model_not_found")
    assert http("GET", f"{cloud.serve_url}/models/team-a-only", token=bob.token).status == 404
    assert bob.call("GET", "/models/team-a-only").status == 404
    assert "team-a-only" not in {m["modelId"] for m in bob.call("GET", "/models").body["models"]}
    assert "team-a-only" in {m["modelId"] for m in alice.call("GET", "/models").body["models"]}
    admin.delete("team-a-only")


def test_a_status_change_is_an_event_on_the_bus(cloud, admin, provider):
    # Given a queue that listens to the bus
    sqs, events, bus = (
        cloud.session.client("sqs"),
        cloud.session.client("events"),
        cloud.outputs["EventBus"],
    )
    queue = sqs.create_queue(QueueName="test-status-events")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(
        Name="test-status-events", EventBusName=bus, EventPattern='{"source": [{"prefix": "lisa"}]}'
    )
    events.put_targets(Rule="test-status-events", EventBusName=bus, Targets=[{"Id": "queue", "Arn": arn}])
    try:
        # When
        admin.create(
            modelId="announced", modelName="openai/x", modelType="textgen", modelUrl=provider.url, apiKey="k"
        )
        admin.await_status("announced", "InService", within=30)
        # Then
        seen: list[str] = []

        def heard() -> bool:
            got = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=1).get(
                "Messages", []
            )
            seen.extend(message["Body"] for message in got)
            return any('"announced"' in body and "InService" in body for body in seen)

        eventually(f"the event (heard: {seen})", heard, within=20)
    finally:
        events.remove_targets(Rule="test-status-events", EventBusName=bus, Ids=["queue"])
        events.delete_rule(Name="test-status-events", EventBusName=bus)
        sqs.delete_queue(QueueUrl=queue)
        admin.delete("announced")
