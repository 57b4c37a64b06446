import json
from pathlib import Path
from typing import Any

import pytest
from lisa.errors import InvalidRequest
from lisa.models.schema import CreateModel, Model
from pydantic import ValidationError

from tests.unit.models.bodies import external, hosted, record


def parse_create(body: Any) -> CreateModel:
    """What the API does with a body: its fields first, then the rules between them."""
    parsed = CreateModel.model_validate(body)
    parsed.definition().check()
    return parsed


def finding(body: Any) -> tuple[str | None, str]:
    """The field that is wrong, and what is said of it."""
    with pytest.raises((ValidationError, InvalidRequest)) as raised:
        parse_create(body)
    if isinstance(raised.value, InvalidRequest):
        return raised.value.field, raised.value.message
    first = raised.value.errors(include_input=False, include_url=False)[0]
    return ".".join(str(part) for part in first["loc"]), first["msg"]


HOSTING = ("autoScalingConfig", "containerConfig", "inferenceContainer", "instanceType", "loadBalancerConfig")


def test_upstreams_smallest_bodies_are_accepted_with_its_defaults():
    # When
    third_party, own = parse_create(external()), parse_create(hosted())

    # Then
    assert not third_party.hosted
    assert third_party.hosting_type == "third_party"
    assert third_party.streaming is False
    assert own.hosted
    stored = own.definition().stored()
    assert stored["hostingType"] == "lisa_hosted"
    assert stored["autoScalingConfig"]["blockDeviceVolumeSize"] == 50
    assert stored["autoScalingConfig"]["metricConfig"]["albMetricName"] == "RequestCountPerTarget"
    assert stored["autoScalingConfig"]["metricConfig"]["targetValue"] == 30
    assert stored["containerConfig"]["environment"] == {}


@pytest.mark.parametrize("engine", ["vllm", "tgi", "tei", "llamacpp", "onnx"])
def test_every_engine_is_a_value(engine):
    assert parse_create(hosted(inferenceContainer=engine)).inference_container == engine


@pytest.mark.parametrize("written", ["THIRD_PARTY", "third_party", "Third_Party"])
def test_hosting_type_in_any_case(written):
    assert parse_create(external(hostingType=written)).hosting_type == "third_party"


def test_unknown_fields_are_ignored_as_upstream_does():
    parsed = parse_create(external(multiModal=True, baseImage="x", provider="y"))
    assert "multiModal" not in parsed.definition().stored()


@pytest.mark.parametrize("body", [external(allowedGroups=["a"], contextWindow=2048), hosted()])
def test_what_get_answered_can_be_posted_again_under_another_id(body):
    # Given
    shown = (
        record(body, status="InService", reason="was slow").public().model_dump(by_alias=True, mode="json")
    )
    assert shown["status"] == "InService"

    # When
    again = parse_create({**shown, "modelId": "other"})

    # Then
    before, after = record(body).definition.stored(), again.definition().stored()
    assert {**before, "modelId": "other"} == after


def test_the_model_object_has_every_field_null_where_unset():
    shown = record().public().model_dump(by_alias=True, mode="json")
    for name in ("modelDescription", "modelUrl", "features", "guardrailsConfig", "contextWindow", *HOSTING):
        assert shown[name] is None, name
    assert shown["reason"] is None
    assert shown["modelType"] == "textgen"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"modelName": "x/y", "modelType": "textgen"}, "modelId"),
        ({"modelId": "m", "modelType": "textgen"}, "modelName"),
        ({"modelId": "m", "modelName": "x/y"}, "modelType"),
        (external(modelId=""), "modelId"),
        (external(modelId=7), "modelId"),
        (external(modelId="a" * 65), "modelId"),
        (external(modelId="has space"), "modelId"),
        (external(modelId="../up"), "modelId"),
        (external(modelId="a/b"), "modelId"),
        (external(modelId="-lead"), "modelId"),
        (external(modelId="null\x00byte"), "modelId"),
        (external(modelId="line\n"), "modelId"),
        (external(modelId="ünïcode"), "modelId"),
        (external(modelName="null\x00byte"), "modelName"),
        (external(modelType="chat"), "modelType"),
        (external(modelType="videogen"), "modelType"),
        (external(hostingType="elsewhere"), "hostingType"),
        (external(streaming="yes"), "streaming"),
        (external(modelType="embedding", streaming=True), "streaming"),
        (external(allowedGroups="team"), "allowedGroups"),
        (external(allowedGroups=[""]), "allowedGroups.0"),
        (external(features=[{"overview": "x"}]), "features.0.name"),
        (external(contextWindow=0), "contextWindow"),
        (external(contextWindow="many"), "contextWindow"),
        (external(contextWindow=True), "contextWindow"),
        (external(apiKey=""), "apiKey"),
        (external(apiKey=["k"]), "apiKey"),
        (external(mode="telepathy"), "mode"),
        (external(hostingType="internal_hosted"), "modelUrl"),
        (hosted(inferenceContainer="instructor"), "inferenceContainer"),
        (hosted(instanceType="big"), "instanceType"),
        (hosted(modelName="../secrets"), "modelName"),
        (hosted(modelName="a/../b"), "modelName"),
        (hosted(modelName="a//b"), "modelName"),
        (hosted(modelName="/a"), "modelName"),
        (hosted(modelName="a/"), "modelName"),
        (hosted("autoScalingConfig.minCapacity", 0), "autoScalingConfig.minCapacity"),
        (hosted("autoScalingConfig.maxCapacity", "2"), "autoScalingConfig.maxCapacity"),
        (hosted("autoScalingConfig.minCapacity", 2), "autoScalingConfig"),
        (hosted("autoScalingConfig.desiredCapacity", 2), "autoScalingConfig"),
        (hosted("autoScalingConfig.blockDeviceVolumeSize", 29), "autoScalingConfig.blockDeviceVolumeSize"),
        (hosted("autoScalingConfig.defaultInstanceWarmup", 3601), "autoScalingConfig.defaultInstanceWarmup"),
        (hosted("autoScalingConfig.cooldown", 0), "autoScalingConfig.cooldown"),
        (
            hosted("autoScalingConfig.metricConfig.targetValue", -1),
            "autoScalingConfig.metricConfig.targetValue",
        ),
        (hosted("autoScalingConfig.metricConfig.duration", 0), "autoScalingConfig.metricConfig.duration"),
        (hosted("containerConfig.environment", {"": "x"}), "containerConfig.environment"),
        (hosted("containerConfig.environment", {"A": 1}), "containerConfig.environment.A"),
        (hosted("containerConfig.sharedMemorySize", -1), "containerConfig.sharedMemorySize"),
        (hosted("containerConfig.memoryReservation", -1), "containerConfig.memoryReservation"),
        (hosted("containerConfig.image.type", "usb"), "containerConfig.image.type"),
        (
            hosted("containerConfig.healthCheckConfig.command", []),
            "containerConfig.healthCheckConfig",
        ),
        (
            hosted("containerConfig.healthCheckConfig.command", ["RUN", "x"]),
            "containerConfig.healthCheckConfig",
        ),
        (
            hosted("containerConfig.healthCheckConfig.command", ["CMD"]),
            "containerConfig.healthCheckConfig",
        ),
        (
            hosted("containerConfig.healthCheckConfig.command", " "),
            "containerConfig.healthCheckConfig",
        ),
        (
            hosted("loadBalancerConfig.healthCheckConfig.path", "no-slash"),
            "loadBalancerConfig.healthCheckConfig.path",
        ),
        (
            hosted("loadBalancerConfig.healthCheckConfig.timeout", 30),
            "loadBalancerConfig.healthCheckConfig",
        ),
        (
            hosted("loadBalancerConfig.healthCheckConfig.interval", 1),
            "loadBalancerConfig.healthCheckConfig.interval",
        ),
    ],
)
def test_what_is_wrong_is_named(body, field):
    found, message = finding(body)
    assert found is not None
    assert found == field or found.startswith(field + ".")
    assert message


@pytest.mark.parametrize("body", [None, [], "text", 7, True])
def test_a_body_must_be_an_object(body):
    with pytest.raises(ValidationError):
        parse_create(body)


@pytest.mark.parametrize("left_out", HOSTING)
def test_hosting_fields_come_all_or_none(left_out):
    # Given
    body = hosted()
    del body[left_out]

    # When
    field, message = finding(body)

    # Then
    assert field == left_out
    assert left_out in message


def test_the_key_is_in_no_representation_of_the_model():
    # Given
    parsed = parse_create(external(apiKey="sk-very-secret"))

    # Then
    assert "sk-very-secret" not in repr(parsed)
    assert "sk-very-secret" not in json.dumps(parsed.definition().stored())
    assert "sk-very-secret" not in record(external(apiKey="sk-very-secret")).public().model_dump_json()


@pytest.mark.parametrize("key", ["", {"nested": "sk-very-secret"}, "sk-very-secret" * 1000])
def test_a_wrong_key_is_not_repeated_in_the_error(key):
    field, message = finding(external(apiKey=key))
    assert field == "apiKey"
    assert "sk-very-secret" not in message


@pytest.mark.parametrize(
    ("changes", "mode"),
    [
        ({"modelType": "textgen"}, "chat"),
        ({"modelType": "embedding"}, "embedding"),
        ({"modelType": "imagegen"}, "image_generation"),
        ({"modelType": "textgen", "mode": "rerank"}, "rerank"),
    ],
)
def test_the_mode_follows_the_type_unless_it_is_given(changes, mode):
    assert parse_create(external(**changes)).route_mode == mode


def test_the_seeds_of_the_local_cloud_are_valid():
    from lisa_local.bringup.models import MODELS

    for model in MODELS:
        assert parse_create(model.definition()).hosted


def test_server_fields_are_not_taken_from_callers():
    assert set(Model.model_fields) - set(CreateModel.model_fields) == {"status", "reason"}


def test_the_model_template_is_small_enough_to_travel_in_a_call():
    template = Path(__file__).parents[3] / "containers" / "model" / "model.yaml"
    assert template.stat().st_size < 50_000  # TemplateBody holds 51,200 bytes
