"""The seams to S3, to the model itself, to the bus and to the environment."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from lisa import aws as clients
from lisa.errors import Unavailable
from lisa.events import EventPublisher
from lisa.models import health
from lisa.models.engines import CPU_ENGINES, ENGINE_ROUTES, ENGINES, speaks
from lisa.models.weights import Weights
from lisa.settings import Settings


def test_weights_are_a_folder_of_the_models_name(aws):
    # Given
    clients.s3().create_bucket(Bucket="weights")
    weights = Weights("weights", clients.s3())
    clients.s3().put_object(Bucket="weights", Key="org/model/config.json", Body=b"{}")

    # Then
    assert weights.uri("org/model") == "s3://weights/org/model/"
    assert weights.missing("org/model") is None
    assert "s3://weights/org/mod/" in weights.missing("org/mod")  # a beginning of a name is not the name


class Model(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        healthy = self.headers["Host"] == "abc.models.internal" and self.path == "/health"
        self.send_response(200 if healthy else 503)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def balancer() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_model_answers_for_itself_by_its_host_name(balancer):
    assert health.answers(balancer, "abc.models.internal", "/health")
    assert not health.answers(balancer, "other.models.internal", "/health")
    assert not health.answers(balancer, "abc.models.internal", "/other")


def test_nobody_there_is_no_answer(balancer, monkeypatch):
    monkeypatch.setattr(health, "TIMEOUT_SECONDS", 0.2)
    assert not health.answers("http://127.0.0.1:9", "abc.models.internal", "/health")


class Bus:
    def __init__(self, failed: int = 0) -> None:
        self.failed = failed
        self.entries: list[dict[str, Any]] = []

    def put_events(self, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        self.entries += Entries
        return {
            "FailedEntryCount": self.failed,
            "Entries": [{"ErrorCode": "Throttled", "ErrorMessage": "slow"}],
        }


def test_an_event_carries_the_version_of_its_schema():
    bus = Bus()
    EventPublisher("lisa", bus).model_status_changed({"modelId": "m1"})
    (entry,) = bus.entries
    assert (entry["EventBusName"], entry["Source"]) == ("lisa", "lisa.models")
    assert entry["DetailType"] == "Model Status Changed"
    assert json.loads(entry["Detail"]) == {"schemaVersion": "1", "modelId": "m1"}


def test_an_event_that_the_bus_did_not_take_is_not_lost_in_silence():
    with pytest.raises(Unavailable, match="Throttled"):
        EventPublisher("lisa", Bus(failed=1)).model_status_changed({"modelId": "m1"})


def test_settings_come_from_the_environment_by_their_names():
    settings = Settings.from_environment(
        {
            "LISA_MODELS_TABLE": "t",
            "LISA_MODEL_START_TIMEOUT": "90",
            "LISA_ALLOWED_PROVIDER_HOSTS": "a.example,,127.0.0.1",
            "OTHER": "x",
        }
    )
    assert (settings.models_table, settings.model_start_timeout) == ("t", 90)
    assert settings.allowed_provider_hosts == ("a.example", "127.0.0.1")


def test_a_setting_of_the_wrong_kind_is_refused():
    with pytest.raises(ValueError, match="model_start_timeout"):
        Settings.from_environment({"LISA_MODEL_START_TIMEOUT": "soon"})


def test_every_engine_has_its_routes():
    assert set(ENGINE_ROUTES) == ENGINES
    assert CPU_ENGINES < ENGINES
    assert speaks("llamacpp", "chat/completions")
    assert not speaks("onnx", "chat/completions")
    assert speaks("onnx", "embeddings")
    assert not speaks("unheard-of", "embeddings")
