import base64
import json
import time

import pytest
from lisa import aws
from lisa.models.store import ModelStore

from tests.unit.functions.conftest import TABLE
from tests.unit.functions.samples import call, logged
from tests.unit.models.bodies import external, hosted, record

GENERIC = {"message", "code", "requestId"}


@pytest.fixture
def api(load):
    """Calls the function; answers status and decoded body."""
    module = load("models_api")

    def run(*args, **kwargs):
        from tests.unit.functions.conftest import Context

        event = args[0] if isinstance(args[0], dict) else call(*args, **kwargs)
        answer = module.handler(event, Context())
        content_types = [
            value
            for name, values in answer["multiValueHeaders"].items()
            for value in values
            if name.lower() == "content-type"
        ]
        assert content_types == ["application/json"]
        return answer["statusCode"], json.loads(answer["body"])

    return run


@pytest.fixture
def store(account):
    return ModelStore(TABLE, aws.dynamodb())


def refused(answer, status, code, field=None):
    assert answer[0] == status, answer
    assert set(answer[1]) == (GENERIC | {"field"} if field else GENERIC)
    assert answer[1]["code"] == code
    assert answer[1].get("field") == field
    assert answer[1]["message"]
    assert answer[1]["requestId"] == "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"


def test_create_answers_201_with_the_model_creating(api, store):
    status, body = api("POST", "/api/models", external(apiKey="sk-very-secret"))
    assert status == 201
    assert body["model"]["modelId"] == "m1"
    assert body["model"]["status"] == "Creating"
    assert body["model"]["reason"] is None
    assert "apiKey" not in body["model"]
    assert "sk-very-secret" not in json.dumps(body)
    assert store.get("m1").created_by == "admin"


def test_a_model_object_has_upstreams_fields(api):
    _, body = api("POST", "/api/models", hosted())
    assert {
        "modelId", "modelName", "modelDescription", "modelType", "modelUrl", "status", "streaming", "features",
        "allowedGroups", "guardrailsConfig", "contextWindow", "hostingType", "autoScalingConfig", "containerConfig",
        "inferenceContainer", "instanceType", "loadBalancerConfig", "reason",
    } <= set(body["model"])  # fmt: skip


def test_the_whole_life_as_the_api_tells_it(api, store):
    # Given
    api("POST", "/api/models", external())
    assert api("GET", "/api/models/m1")[1]["model"]["status"] == "Creating"
    row = store.get("m1")
    store.set_status("m1", row.generation, "InService", None, now=int(time.time()))
    shown = api("GET", "/api/models/m1")[1]["model"]
    assert shown["status"] == "InService"

    # When what was shown is posted again under another id
    status, copy = api("POST", "/api/models", shown | {"modelId": "copy"})

    # Then
    assert status == 201
    assert copy["model"] == shown | {"modelId": "copy", "status": "Creating"}
    assert [model["modelId"] for model in api("GET", "/api/models")[1]["models"]] == ["copy", "m1"]
    status, deleted = api("DELETE", "/api/models/m1")
    assert (status, deleted["model"]["status"]) == (200, "Deleting")
    assert api("GET", "/api/models/m1")[1]["model"]["status"] == "Deleting"
    store.forget("m1", store.get("m1").generation)
    refused(api("GET", "/api/models/m1"), 404, "model_not_found")


def test_a_slash_at_the_end_is_the_same_path(api):
    assert api("GET", "/api/models/") == api("GET", "/api/models")


def test_lists_are_complete_and_pages_are_asked_for(api, store):
    for number in range(12):
        store.create(record(external(modelId=f"m{number:02}")))
    assert len(api("GET", "/api/models")[1]["models"]) == 12
    first = api("GET", "/api/models", query={"pageSize": "8"})[1]
    second = api("GET", "/api/models", query={"pageSize": "8", "nextToken": first["nextToken"]})[1]
    assert [len(first["models"]), len(second["models"])] == [8, 4]
    assert second["nextToken"] is None


@pytest.mark.parametrize("query", [{"pageSize": "0"}, {"pageSize": "101"}, {"pageSize": "many"}])
def test_a_page_size_that_makes_no_sense_is_named(api, query):
    refused(api("GET", "/api/models", query=query), 400, "invalid_request", "pageSize")


def test_people_see_their_groups_models_and_change_none(api, store):
    # Given
    store.create(record(external(modelId="everyones"), status="InService"))
    store.create(record(external(modelId="theirs", allowedGroups=["team-b"]), status="InService"))
    alice = {"user": "alice", "groups": ("user", "team-a")}

    # Then
    assert [m["modelId"] for m in api("GET", "/api/models", **alice)[1]["models"]] == ["everyones"]
    refused(api("GET", "/api/models/theirs", **alice), 404, "model_not_found")
    refused(api("POST", "/api/models", external(), **alice), 403, "forbidden")
    refused(api("DELETE", "/api/models/everyones", **alice), 403, "forbidden")
    assert store.get("everyones").desired == "present"


def test_a_route_that_was_left_open_by_mistake_lets_nobody_in(api):
    for method, path in (("GET", "/api/models"), ("POST", "/api/models"), ("DELETE", "/api/models/m1")):
        refused(api(method, path, external(), user=None), 401, "unauthenticated")


def test_a_route_outside_the_policy_is_not_there(api):
    status, body = api("PATCH", "/api/models/m1", {})
    assert status == 404
    assert set(body) == GENERIC


def test_who_may_not_create_learns_nothing_about_bodies(api):
    refused(api("POST", "/api/models", "{", user="alice", groups=("user",)), 403, "forbidden")


def test_a_name_that_is_taken_is_409(api):
    api("POST", "/api/models", external())
    refused(api("POST", "/api/models", external()), 409, "model_exists", "modelId")


def test_deleting_twice_is_as_once_and_a_missing_model_is_404(api, store):
    api("POST", "/api/models", external())
    first, second = api("DELETE", "/api/models/m1"), api("DELETE", "/api/models/m1")
    assert first == second
    refused(api("DELETE", "/api/models/nobody"), 404, "model_not_found")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"modelId": "m1",', None),
        ("", None),
        ("null", None),
        ("[]", None),
        ('"text"', None),
        ("{}", "modelId"),
        (external(modelId=7), "modelId"),
        (external(modelType="chat"), "modelType"),
        (external(streaming="yes"), "streaming"),
        (external(allowedGroups=[1]), "allowedGroups.0"),
        (external(modelDescription="null \x00 byte"), None),
        (external(modelUrl="http://169.254.169.254/latest"), "modelUrl"),
        (external(modelUrl="ftp://127.0.0.1/"), "modelUrl"),
        (hosted("containerConfig.sharedMemorySize", "big"), "containerConfig.sharedMemorySize"),
        ({**hosted(), "instanceType": None}, "instanceType"),
        (external(modelType="embedding", streaming=True), "streaming"),
    ],
)
def test_what_is_wrong_with_a_body_is_named(api, store, body, field):
    answer = api("POST", "/api/models", body)
    refused(answer, 400, "invalid_request", field)
    assert store.page()[0] == []


@pytest.mark.parametrize("key", [7, "", ["sk-very-secret"], {"k": "sk-very-secret"}])
def test_a_wrong_key_is_not_repeated(api, key, caplog):
    answer = api("POST", "/api/models", external(apiKey=key))
    refused(answer, 400, "invalid_request", "apiKey")
    assert "sk-very-secret" not in json.dumps(answer) + logged(caplog)


def test_no_key_is_in_the_log(api, caplog):
    assert api("POST", "/api/models", external(apiKey="sk-very-secret"))[0] == 201
    assert [record.route for record in caplog.records] == ["/api/models"]
    assert "sk-very-secret" not in logged(caplog)


def test_a_body_over_the_limit_is_413(api):
    refused(api("POST", "/api/models", external(modelDescription="x" * 1_100_000)), 413, "payload_too_large")


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", None])
def test_a_body_is_json_whatever_it_is_called(api, content_type):
    event = call("POST", "/api/models", external())
    for headers in (event["headers"], event["multiValueHeaders"]):
        headers.pop("Content-Type")
    if content_type:
        event["headers"]["content-type"] = content_type
        event["multiValueHeaders"]["content-type"] = [content_type]
    assert api(event)[0] == 201


def test_a_body_in_base64_is_the_same(api):
    event = call("POST", "/api/models", external())
    event["body"] = base64.b64encode(event["body"].encode()).decode()
    event["isBase64Encoded"] = True
    assert api(event)[0] == 201


def test_what_nobody_expected_is_a_500_that_tells_nothing_but_its_id(api, monkeypatch):
    # Given
    def broken(self, model_id):
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr("lisa.models.store.ModelStore.get", broken)

    # When
    answer = api("GET", "/api/models/m1")

    # Then
    refused(answer, 500, "internal_error")
    assert "hunter2" not in json.dumps(answer)
