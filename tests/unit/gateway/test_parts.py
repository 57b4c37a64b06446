"""The smaller parts: settings, access log, metrics, health check."""

import io
import json
import logging
import os
import subprocess
import sys
import time

import pytest
from lisa_gateway.access_log import MAX_WAITING, AccessLog, JsonFormatter
from lisa_gateway.http.exchange import header_line
from lisa_gateway.metrics import Metrics
from lisa_gateway.settings import Settings

ENVIRONMENT = {
    "LISA_ISSUER": "https://i",
    "LISA_CLIENT_ID": "c",
    "LISA_MODELS_TABLE": "t",
    "LISA_USAGE_QUEUE_URL": "https://q",
    "LISA_LIMITS_TABLE": "limits",
    "LISA_EVENT_BUS": "b",
}


def record(**changes):
    fields = {
        "at": time.perf_counter(),
        "id": b"req-1",
        "route": "/v1/models",
        "method": "GET",
        "status": 200,
        "user": "",
        "model": "",
        "seconds": 0.0123,
        "first": 0.01,
        "usage": None,
        "bytes": 5,
        "error": "",
        **changes,
    }
    return tuple(fields.values())


def test_settings_have_defaults_and_are_read_from_the_environment():
    settings = Settings.from_environment(ENVIRONMENT)
    assert (settings.host, settings.port, settings.max_body_bytes, settings.base_path) == (
        "0.0.0.0",
        4000,
        10485760,
        "",
    )
    settings = Settings.from_environment(
        {
            **ENVIRONMENT,
            "HOST": "127.0.0.1",
            "PORT": "4001",
            "LISA_BASE_PATH": "/prod/",
            "LISA_MAX_BODY_BYTES": "1000",
            "LISA_ALLOWED_PROVIDER_HOSTS": "a.com, *.b.com",
        }
    )
    assert (settings.host, settings.port, settings.base_path) == ("127.0.0.1", 4001, "/prod")
    assert settings.allowed_provider_hosts == ("a.com", "*.b.com")


def test_every_start_is_another_instance():
    assert (
        Settings.from_environment(ENVIRONMENT).instance_id
        != Settings.from_environment(ENVIRONMENT).instance_id
    )


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"LISA_MODELS_TABLE": ""}, "LISA_MODELS_TABLE"),
        ({"LISA_USAGE_QUEUE_URL": ""}, "LISA_USAGE_QUEUE_URL"),
        ({"LISA_LIMITS_TABLE": ""}, "LISA_LIMITS_TABLE"),
        ({"LISA_EVENT_BUS": ""}, "LISA_EVENT_BUS"),
        ({"LISA_ISSUER": ""}, "LISA_ISSUER"),
        ({"LISA_CLIENT_ID": ""}, "LISA_CLIENT_ID"),
        ({"PORT": "x"}, "PORT"),
        ({"LISA_BASE_PATH": "x"}, "LISA_BASE_PATH"),
    ],
)
def test_a_wrong_setting_is_named(change, named):
    with pytest.raises(ValueError, match=named):
        Settings.from_environment({**ENVIRONMENT, **change})


def test_the_program_says_in_one_sentence_what_is_missing():
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    env.pop("LISA_MODELS_TABLE", None)
    done = subprocess.run(
        [sys.executable, "-m", "lisa_gateway"], capture_output=True, text=True, env=env, check=False
    )
    assert done.returncode == 1
    assert (
        done.stderr.strip()
        == "lisa_gateway: LISA_MODELS_TABLE is empty: set it to the name of the models table"
    )


def test_the_access_log_writes_one_object_a_line():
    out = io.BytesIO()
    log = AccessLog(out)
    log.add(record())
    log.add(record(user='a"\n', model="m", usage=(3, 4), error="x", status=500))
    log.flush()
    first, second = (json.loads(line) for line in out.getvalue().splitlines())
    assert (first["route"], first["ms"], first["requestId"]) == ("/v1/models", 12.3, "req-1")
    assert "user" not in first
    assert abs(time.time() - __import__("datetime").datetime.fromisoformat(first["time"]).timestamp()) < 5
    assert (second["user"], second["promptTokens"], second["completionTokens"]) == ('a"\n', 3, 4)


def test_a_log_that_nobody_reads_does_not_fill_the_memory():
    out = io.BytesIO()
    log = AccessLog(out)
    for _ in range(MAX_WAITING + 5):
        log.add(record())
    log.flush()
    assert json.loads(out.getvalue().splitlines()[-1]) == {
        "level": "WARNING",
        "message": "lines lost",
        "count": 5,
    }


def test_the_access_log_survives_a_closed_pipe():
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb", buffering=0) as out:
        log = AccessLog(out)
        log.add(record())
        log.flush()


def test_other_log_lines_have_the_same_shape():
    line = logging.LogRecord("n", logging.WARNING, "p", 1, "lost %s", ("it",), None)
    line.model = "m"
    fields = json.loads(JsonFormatter().format(line))
    assert (fields["level"], fields["message"], fields["model"]) == ("WARNING", "lost it", "m")


def test_histograms_are_cumulative_and_labels_are_escaped():
    metrics = Metrics()
    for seconds in (0.003, 0.03, 1000):
        metrics.record("/v1/x", 'a"b\\c\n', 200, seconds, seconds, (1, 2))
    text = metrics.render()
    label = 'endpoint="/v1/x",model="a\\"b\\\\c\\n"'
    assert f'lisa_gateway_request_seconds_bucket{{{label},le="0.005"}} 1' in text
    assert f'lisa_gateway_request_seconds_bucket{{{label},le="0.05"}} 2' in text
    assert f'lisa_gateway_request_seconds_bucket{{{label},le="+Inf"}} 3' in text
    assert f"lisa_gateway_request_seconds_count{{{label}}} 3" in text
    assert 'lisa_gateway_tokens_total{model="a\\"b\\\\c\\n",kind="completion"} 6' in text


def test_a_header_cannot_hold_a_line_end():
    assert header_line("retry-after", 5) == b"retry-after: 5\r\n"
    with pytest.raises(ValueError, match="line end"):
        header_line("x", "a\r\nset-cookie: b")


def test_the_health_check_follows_the_gateway(gateway):
    def check(port):
        env = {**os.environ, "PORT": str(port), "PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.run(
            [sys.executable, "-m", "lisa_gateway.healthcheck"], env=env, check=False
        ).returncode

    assert check(gateway.port) == 0
    assert check(1) == 1
