import json

import pytest
from lisa_model.errors import ConfigurationError
from lisa_model.settings import Settings

GOOD = {
    "LISA_MODEL_ID": "m",
    "LISA_ENGINE": "vllm",
    "LISA_WEIGHTS_URI": "s3://weights/org/name/",
}


def test_the_settings_of_a_model_are_read():
    # Given
    environ = GOOD | {
        "PORT": "9000",
        "LISA_CONTEXT_WINDOW": "4096",
        "LISA_ENGINE_ARGS": '{"max-num-seqs": 8}',
    }
    # When
    settings = Settings.from_environment(environ)
    # Then
    assert (settings.model_id, settings.port, settings.context_window) == ("m", 9000, 4096)
    assert (settings.bucket, settings.prefix) == ("weights", "org/name/")
    assert settings.engine_args == {"max-num-seqs": 8}


def test_a_weights_address_without_the_last_slash_is_the_same_folder():
    assert (
        Settings.from_environment(GOOD | {"LISA_WEIGHTS_URI": "s3://weights/org/name"}).prefix == "org/name/"
    )


def test_an_empty_context_window_is_none():
    assert Settings.from_environment(GOOD | {"LISA_CONTEXT_WINDOW": ""}).context_window is None


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("LISA_MODEL_ID", "", "LISA_MODEL_ID is not set"),
        ("LISA_ENGINE", "", "LISA_ENGINE is not set"),
        ("LISA_ENGINE", "ollama", "use one of vllm, tgi, tei, llamacpp, onnx"),
        ("LISA_WEIGHTS_URI", "https://x/y", "s3://bucket/model-name/"),
        ("LISA_WEIGHTS_URI", "s3://weights/", "s3://bucket/model-name/"),
        ("LISA_WEIGHTS_URI", "s3://weights/a/../b/", "may not hold"),
        ("PORT", "70000", "from 1 to 65535"),
        ("LISA_CONTEXT_WINDOW", "many", "whole number"),
        ("LISA_ENGINE_ARGS", "{", "not valid JSON"),
        ("LISA_ENGINE_ARGS", "[1]", "JSON object"),
        ("LISA_CONTAINER_ENVIRONMENT", '{"A": 1}', "must be a string"),
    ],
)
def test_a_wrong_setting_is_named_with_what_it_should_be(name, value, says):
    with pytest.raises(
        ConfigurationError, match=name if name != "LISA_CONTAINER_ENVIRONMENT" else "containerConfig"
    ) as raised:
        Settings.from_environment(GOOD | {name: value})
    assert says in str(raised.value)


@pytest.mark.parametrize(
    "name", ["LISA_ENGINE", "AWS_ACCESS_KEY_ID", "PORT", "LD_PRELOAD", "PYTHONPATH", "PATH", "A B", ""]
)
def test_a_models_definition_cannot_set_names_that_the_container_relies_on(name):
    with pytest.raises(ConfigurationError, match="may not set"):
        Settings.from_environment(GOOD | {"LISA_CONTAINER_ENVIRONMENT": json.dumps({name: "x"})})


def test_a_models_definition_can_set_an_engines_own_variables():
    environ = GOOD | {"LISA_CONTAINER_ENVIRONMENT": '{"VLLM_LOGGING_LEVEL": "DEBUG"}'}
    assert Settings.from_environment(environ).container_environment == {"VLLM_LOGGING_LEVEL": "DEBUG"}
