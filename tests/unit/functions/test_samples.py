import json

import jsonschema
import pytest
from lisa import aws
from lisa.models.record import ModelRecord
from lisa.models.store import ModelStore

from tests.unit.functions.conftest import TABLE
from tests.unit.functions.samples import ROOT, names, sample
from tests.unit.models.bodies import external, hosted, record

MODEL = "smollm2-135m"
GENERATION = 1795467600000


def row(body=None) -> ModelRecord:
    """The model of the samples, or another one of the same age."""
    own = hosted(
        modelId=MODEL, modelName="HuggingFaceTB/SmolLM2-135M-Instruct", inferenceContainer="llamacpp"
    )
    return record(body or own, generation=GENERATION, deadline=4_000_000_000)


@pytest.fixture
def store(account):
    return ModelStore(TABLE, aws.dynamodb())


def test_every_function_has_a_sample_event():
    assert [name for name in names() if not (ROOT / "events" / f"{name}.json").exists()] == []


@pytest.mark.parametrize("path", sorted((ROOT / "events").glob("*.schema.json")), ids=lambda path: path.name)
def test_what_we_say_on_the_bus_has_a_schema_and_a_sample_that_keeps_it(path):
    schema = json.loads(path.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    event = json.loads(path.with_name(path.name.replace(".schema", "")).read_text())
    jsonschema.validate(event, schema)
    for missing in schema["properties"]["detail"]["required"]:
        broken = event | {"detail": {k: v for k, v in event["detail"].items() if k != missing}}
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, schema)


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("model_check", "failed"),
        ("model_route", "routed"),
        ("model_create_stack", "requested"),
        ("model_observe", "failed"),
        ("model_probe", "pending"),
        ("model_await_gateways", "acknowledged"),
        ("model_delete_stack", "gone"),
        ("model_record", "recorded"),
    ],
)
def test_a_step_runs_with_its_sample(invoke, store, monkeypatch, name, outcome):
    # Given the sample's model, without weights and without a stack
    store.create(row())
    monkeypatch.setattr(
        "lisa.models.stacks.ModelStacks.create", lambda *args, **kwargs: None
    )  # moto knows no model template

    # Then
    assert invoke(name, sample(name))["outcome"] == outcome


@pytest.mark.parametrize(
    "name",
    [
        "model_check", "model_route", "model_create_stack", "model_observe", "model_delete_stack", "model_record",
    ],
)  # fmt: skip
def test_a_step_of_a_wish_that_is_gone_says_so(invoke, name):
    assert invoke(name, sample(name)) == {"outcome": "superseded"}


def test_missing_weights_name_the_place(invoke, store):
    store.create(row())
    reason = invoke("model_check", sample("model_check"))["reason"]
    assert "s3://weights/HuggingFaceTB/SmolLM2-135M-Instruct/" in reason


def test_weights_in_the_bucket_are_found(invoke, store):
    store.create(row())
    aws.s3().put_object(Bucket="weights", Key="HuggingFaceTB/SmolLM2-135M-Instruct/w.gguf", Body=b"x")
    assert invoke("model_check", sample("model_check")) == {"outcome": "hosted"}


def test_the_streams_sample_starts_a_workflow_and_says_the_status(invoke, store, monkeypatch):
    # Given
    said = []
    monkeypatch.setattr(
        "lisa.events.EventPublisher.model_status_changed", lambda self, detail: said.append(detail)
    )
    store.create(row(external(modelId="gpt-4o-mini")))

    # When
    answer = invoke("model_dispatch", sample("model_dispatch"))

    # Then
    assert answer == {"batchItemFailures": []}
    states = aws.step_functions()
    machine = next(m for m in states.list_state_machines()["stateMachines"] if m["name"] == "create")
    (execution,) = states.list_executions(stateMachineArn=machine["stateMachineArn"])["executions"]
    assert execution["name"].endswith(f"-{GENERATION}-1")
    assert [(event["modelId"], event["status"]) for event in said] == [("gpt-4o-mini", "Creating")]


def test_of_a_batch_only_what_failed_comes_back(load, store, monkeypatch):
    # Given a batch of two, of which the first cannot be started
    module = load("model_dispatch")
    started = []

    def start(self, found):
        if found.model_id == "bad":
            raise ConnectionError("Step Functions is away")
        started.append(found.model_id)

    monkeypatch.setattr("lisa.models.executions.Executions.start", start)
    event = sample("model_dispatch")
    (first,) = event["Records"]
    for position, model_id in enumerate(("good", "bad")):
        store.create(row(external(modelId=model_id)))
        change = json.loads(json.dumps(first))
        change["dynamodb"]["SequenceNumber"] = str(position)
        change["dynamodb"]["NewImage"]["sk"]["S"] = model_id
        event["Records"].append(change)
    event["Records"] = event["Records"][1:]

    # When
    from tests.unit.functions.conftest import Context

    answer = module.handler(event, Context())

    # Then
    assert started == ["good"]
    assert answer == {"batchItemFailures": [{"itemIdentifier": "1"}]}


def test_the_reconciler_reports_what_it_did(invoke, store):
    # Given a row whose workflow was never started
    store.create(row(external(modelId="lost")))

    # When
    report = invoke("model_reconcile", sample("model_reconcile"))

    # Then
    assert report == {"retried": ["lost"], "gave_up": [], "orphans": [], "keys": [], "failed": []}
    assert store.get("lost").attempt == 2
