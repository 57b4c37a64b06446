"""A provider's key is in Secrets Manager and nowhere else, from its model's create to its delete."""

import json
import secrets
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.cloud import TestCloud, eventually
from tests.e2e.conftest import Api, http

pytestmark = pytest.mark.cloud

MODEL = "keyed"


def pages(client: Any, operation: str, key: str, **arguments: Any) -> Iterator[Any]:
    for page in client.get_paginator(operation).paginate(**arguments):
        yield from page[key]


def tables(cloud: TestCloud) -> Iterator[tuple[str, str]]:
    client = cloud.session.client("dynamodb")
    for name in pages(client, "list_tables", "TableNames"):
        items = list(pages(client, "scan", "Items", TableName=name))
        yield f"table {name}", str(items)


def workflows(cloud: TestCloud) -> Iterator[tuple[str, str]]:
    client = cloud.session.client("stepfunctions")
    for machine in pages(client, "list_state_machines", "stateMachines"):
        for execution in pages(
            client, "list_executions", "executions", stateMachineArn=machine["stateMachineArn"]
        ):
            arn = execution["executionArn"]
            yield f"execution {arn}", str(client.describe_execution(executionArn=arn))
            yield (
                f"history {arn}",
                str(list(pages(client, "get_execution_history", "events", executionArn=arn))),
            )


def logs(cloud: TestCloud) -> Iterator[tuple[str, str]]:
    client = cloud.session.client("logs")
    for group in pages(client, "describe_log_groups", "logGroups"):
        name = group["logGroupName"]
        yield f"log group {name}", str(list(pages(client, "filter_log_events", "events", logGroupName=name)))


def files(cloud: TestCloud) -> Iterator[tuple[str, str]]:
    """What the cloud's processes wrote, LiteLLM's output among it, and what it keeps of its stacks and containers."""
    for path in sorted(cloud.home.logs.rglob("*")):
        if path.is_file():
            yield f"file {path.relative_to(cloud.home.path)}", path.read_text(errors="replace")


def answers(cloud: TestCloud, admin: Api) -> Iterator[tuple[str, str]]:
    for path in ("/models", f"/models/{MODEL}"):
        yield path, json.dumps(admin.call("GET", path).body)
    for path in ("/v1/models", f"/v1/models/{MODEL}", "/v2/serve/model/info", "/metrics"):
        yield path, str(http("GET", cloud.url + path, token=admin.token).body)


def everywhere(cloud: TestCloud, admin: Api) -> dict[str, str]:
    found: dict[str, str] = {}
    for source in (tables(cloud), workflows(cloud), logs(cloud), files(cloud), answers(cloud, admin)):
        found |= dict(source)
    return found


def kept(cloud: TestCloud) -> set[str]:
    return {
        each["ARN"] for each in pages(cloud.session.client("secretsmanager"), "list_secrets", "SecretList")
    }


def test_a_key_is_in_secrets_manager_and_nowhere_else(cloud: TestCloud, admin: Api, provider: Any) -> None:
    # Given a model with a key that is like no other text, and one whose key its provider takes
    key = f"sk-distinctive-{secrets.token_hex(16)}"
    before = kept(cloud)
    created = {}
    for model_id, api_key in ((MODEL, key), (f"{MODEL}-good", provider.key)):
        created[model_id] = admin.create(
            modelId=model_id,
            modelName="openai/smollm2",
            modelType="textgen",
            modelUrl=provider.url,
            apiKey=api_key,
        )
    for model_id in created:
        admin.await_status(model_id, "InService")
    assert len(kept(cloud) - before) == 2

    # When it is used: with a good key, and with one that the provider refuses, and may repeat in its error
    with openai.OpenAI(base_url=cloud.serve_url, api_key=admin.token, max_retries=0) as client:
        messages: Any = [{"role": "user", "content": "Say hello"}]
        client.chat.completions.create(model=f"{MODEL}-good", messages=messages, max_tokens=4)
        with pytest.raises(openai.APIStatusError) as refused:
            client.chat.completions.create(model=MODEL, messages=messages, max_tokens=4)

    # Then
    assert key not in str(refused.value)
    assert key not in json.dumps(created)
    seen = everywhere(cloud, admin)
    # The search has looked where a model does leave its name: it is not blind.
    for kind in ("table", "execution", "history", "log group", "file"):
        assert any(name.startswith(kind) and MODEL in text for name, text in seen.items()), kind
    for secret in (key, provider.key):
        assert [name for name, text in seen.items() if secret in text] == []

    # And when it goes, its key does
    for model_id in created:
        admin.delete(model_id)
    eventually("the keys' end", lambda: kept(cloud) == before, within=30)
    for secret in (key, provider.key):
        assert [name for name, text in everywhere(cloud, admin).items() if secret in text] == []
