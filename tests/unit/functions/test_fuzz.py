"""The REST API against its own document: whatever is sent, no answer is a fault of ours or of another shape."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode, openapi
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.unit.functions.gateway_events import Api, deployed
from tests.unit.models.bodies import external

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
)
CALLERS = {"admin": ["admin"], "alice": ["user", "team-a"]}
KNOWN = {"modelId": "m1", "id": "alice", "userId": "alice"}
"""Values of path parameters that name something, else every answer would be 404."""

FUZZ = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,  # the same calls in every run
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def handler(load: Callable[[str], Any]) -> Callable[[str], Any]:
    return lru_cache(lambda name: load(name).handler)


@pytest.mark.parametrize(
    "mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.value
)
@pytest.mark.parametrize("user", CALLERS)
@pytest.mark.parametrize(("method", "path"), sorted(deployed()), ids=lambda value: value)
def test_every_answer_is_as_documented(handler, method, path, user, mode):
    # Given the API with a model in it, and its document as it serves it
    admin = openapi.from_wsgi("/api/openapi.json", Api(handler, "admin", ["admin"]))
    created = admin["/api/models"]["POST"].Case(body=external(), media_type="application/json").call()
    assert created.status_code == 201
    schema = openapi.from_wsgi("/api/openapi.json", Api(handler, user, CALLERS[user]))
    operation = schema[path][method]
    seen = set()

    @FUZZ
    @given(case=operation.as_strategy(generation_mode=mode), known=st.booleans())
    def run(case: Any, known: bool) -> None:
        if known:
            case.path_parameters = {
                name: KNOWN.get(name, value) for name, value in (case.path_parameters or {}).items()
            }
        answer = case.call()
        seen.add(answer.status_code)
        case.validate_response(answer, checks=CHECKS)

    try:
        run()
    except Exception as error:
        if type(error).__name__ != "Unsatisfiable":
            raise
        assert mode is GenerationMode.NEGATIVE  # nothing can be wrong in a call without parameters
        return
    assert seen
