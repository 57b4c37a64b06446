import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from lisa import aws as clients
from moto import mock_aws

from tests.unit.functions.samples import FUNCTIONS, ROOT
from tests.unit.tables import create_table
from tests.unit.templates.application import load as load_template

TABLE = "models"
USAGE_TABLE = "usage"
TOKENS_TABLE = "tokens"
LIMITS_TABLE = "limits"
AUDIT_TABLE = "audit"
REPOSITORIES_TABLE = "repositories"
DOCUMENTS_TABLE = "documents"
DOCUMENTS_BUCKET = "dropped"
BUCKET = "weights"
STATES_ROLE = "arn:aws:iam::123456789012:role/states"
MACHINES = (
    "create", "delete", "repository_create", "repository_update", "repository_delete", "collection_create",
    "collection_delete", "collection_reindex",
)  # fmt: skip
WAIT = json.dumps({"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 600, "End": True}}})


class Context:
    """What the runtime tells a handler."""

    function_name = "function"
    memory_limit_in_mb = 256
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:function"
    aws_request_id = "00000000-0000-0000-0000-000000000000"

    @staticmethod
    def get_remaining_time_in_millis() -> int:
        return 30_000


def create_indexed_table(resource: str, name: str) -> None:
    """As stacks/data.yaml declares it."""
    declared = load_template(ROOT / "stacks" / "data.yaml")["Resources"][resource]["Properties"]
    keys = ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")
    clients.dynamodb().create_table(TableName=name, **{key: declared[key] for key in keys})


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An account with what the functions need, and their environment."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        for table in (TABLE, USAGE_TABLE, TOKENS_TABLE, LIMITS_TABLE, REPOSITORIES_TABLE):
            create_table(clients.dynamodb(), table)
        create_indexed_table("AuditTable", AUDIT_TABLE)
        create_indexed_table("DocumentsTable", DOCUMENTS_TABLE)
        # The embedding model of these tests; nobody listens at the gateway's address.
        monkeypatch.setattr("lisa.rag.embedding.Embedder.dimensions", lambda self, model: 384)
        clients.s3().create_bucket(Bucket=BUCKET)
        clients.s3().create_bucket(Bucket=DOCUMENTS_BUCKET)
        queue = clients.sqs().create_queue(QueueName="work")["QueueUrl"]
        clients.events().create_event_bus(Name="lisa")
        states = clients.step_functions()
        for name in MACHINES:
            machine = states.create_state_machine(name=name, definition=WAIT, roleArn=STATES_ROLE)
            monkeypatch.setenv(f"LISA_{name.upper()}_STATE_MACHINE_ARN", machine["stateMachineArn"])
        for name, value in {
            "DEPLOYMENT": "lisa",
            "STAGE": "local",
            "MODELS_TABLE": TABLE,
            "USAGE_TABLE": USAGE_TABLE,
            "TOKENS_TABLE": TOKENS_TABLE,
            "LIMITS_TABLE": LIMITS_TABLE,
            "AUDIT_TABLE": AUDIT_TABLE,
            "WEIGHTS_BUCKET": BUCKET,
            "REPOSITORIES_TABLE": REPOSITORIES_TABLE,
            "DOCUMENTS_TABLE": DOCUMENTS_TABLE,
            "DOCUMENTS_BUCKET": DOCUMENTS_BUCKET,
            "WORK_QUEUE_URL": queue,
            "GATEWAY_URL": "http://127.0.0.1:9",
            "SERVICE_KEY_SECRET": "service-key",
            "EVENT_BUS": "lisa",
            "CLUSTER": "lisa",
            "MODELS_URL": "http://127.0.0.1:9",
            "ALLOWED_PROVIDER_HOSTS": "127.0.0.1,*",
            "MODEL_START_TIMEOUT": "600",
            "ISSUER": "https://issuer.example.com",
            "CLIENT_ID": "client",
            "JWKS_URL": "http://127.0.0.1:9/jwks",
        }.items():
            monkeypatch.setenv(f"LISA_{name}", value)
        yield


@pytest.fixture
def load(account: None, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Imports a function as the runtime does: its folder on the path, the module `app`."""

    def module(name: str) -> ModuleType:
        path = FUNCTIONS / name / "app.py"
        monkeypatch.syspath_prepend(str(path.parent))
        spec = importlib.util.spec_from_file_location(f"function_{name}", path)
        assert spec is not None
        assert spec.loader is not None
        loaded = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
        sys.path.remove(str(Path(path.parent)))
        return loaded

    return module


@pytest.fixture
def invoke(load: Callable[[str], ModuleType]) -> Callable[[str, dict[str, Any]], Any]:
    return lambda name, event: load(name).handler(event, Context())
