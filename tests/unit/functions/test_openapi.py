"""The document that describes the API, the code that answers, the policy and the deployed routes say the same."""

import json
import subprocess
import sys

import pytest
from lisa.identity.policy import RULES, Who
from openapi_spec_validator import validate

from tests.unit.functions.conftest import Context
from tests.unit.functions.samples import FUNCTIONS, ROOT, sample
from tests.unit.templates.application import load

DOCUMENT = json.loads((FUNCTIONS / "api_docs" / "openapi.json").read_text())
API = load(ROOT / "stacks" / "api.yaml")["Resources"]
BODY = API["Api"]["Properties"]["DefinitionBody"]
METHODS = {"get", "post", "put", "patch", "delete", "head", "options"}


def routes(paths):
    return {
        (method.upper(), path)
        for path, methods in paths.items()
        if "Fn::If" not in methods
        for method in methods
        if method in METHODS
    }


def deployed(method, path):
    return BODY["paths"][path][method.lower()]


def test_the_document_is_what_the_code_gives():
    result = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "openapi.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def test_the_document_is_valid():
    validate(DOCUMENT)


def test_documented_and_deployed_routes_are_those_of_the_policy():
    ruled = {(rule.method, rule.path) for rule in RULES if rule.door == "api"}
    assert routes(BODY["paths"]) == ruled
    assert routes(DOCUMENT["paths"]) == ruled


@pytest.mark.parametrize("rule", [r for r in RULES if r.door == "api"], ids=lambda r: f"{r.method} {r.path}")
def test_a_route_asks_for_a_token_exactly_when_the_policy_does(rule):
    security = [] if rule.who is Who.PUBLIC else [{"token": []}]
    assert deployed(rule.method, rule.path)["security"] == security
    assert DOCUMENT["paths"][rule.path][rule.method.lower()]["security"] == security


def test_inference_on_aws_is_streamed_and_left_to_the_gateway():
    for path in ("/v1/{proxy+}", "/v2/serve/{proxy+}"):
        condition, route, otherwise = BODY["paths"][path]["Fn::If"]
        assert condition == "OnAws"
        assert otherwise == {"Ref": "AWS::NoValue"}
        operation = route["x-amazon-apigateway-any-method"]
        assert operation["security"] == []
        integration = operation["x-amazon-apigateway-integration"]
        assert integration["responseTransferMode"] == "STREAM"
        assert integration["connectionType"] == "VPC_LINK"
        assert integration["timeoutInMillis"] == 900_000


def test_the_authorizer_has_one_source_and_forgets_within_a_minute():
    authorizer = BODY["components"]["securitySchemes"]["token"]["x-amazon-apigateway-authorizer"]
    assert authorizer["type"] == "request"
    assert authorizer["identitySource"] == "method.request.header.Authorization"
    assert authorizer["authorizerResultTtlInSeconds"] <= 60


def test_api_gateways_own_answers_have_our_shape():
    kinds = BODY["x-amazon-apigateway-gateway-responses"]
    assert {"DEFAULT_4XX", "DEFAULT_5XX", "UNAUTHORIZED", "ACCESS_DENIED", "THROTTLED"} <= set(kinds)
    for kind, response in kinds.items():
        template = response["responseTemplates"]["application/json"]
        filled = template.replace("$context.error.messageString", '"why"').replace("$context.requestId", "id")
        body = json.loads(filled)
        assert set(body) == {"message", "code", "requestId"}, kind
        assert int(response.get("statusCode", 500)) >= 400, kind
    assert int(kinds["UNAUTHORIZED"]["statusCode"]) == 401


def test_every_field_of_a_create_is_documented():
    properties = DOCUMENT["components"]["schemas"]["CreateModel"]["properties"]
    assert {"modelId", "modelName", "modelType", "hostingType", "apiKey", "modelUrl", "allowedGroups"} <= set(
        properties
    )
    assert DOCUMENT["components"]["schemas"]["CreateModel"]["required"] == [
        "modelId",
        "modelName",
        "modelType",
    ]
    assert {"status", "reason"} <= set(DOCUMENT["components"]["schemas"]["Model"]["properties"])


@pytest.fixture
def docs(load):
    module = load("api_docs")

    def get(path):
        event = sample("api_docs") | {"path": path, "resource": path}
        return module.handler(event, Context())

    return get


def test_the_document_is_served(docs):
    answer = docs("/api/openapi.json")
    assert answer["statusCode"] == 200
    assert answer["headers"]["Content-Type"] == "application/json"
    assert json.loads(answer["body"]) == DOCUMENT


def test_the_page_shows_every_route_and_needs_nothing_from_anywhere(docs):
    answer = docs("/api/docs")
    assert answer["statusCode"] == 200
    assert answer["headers"]["Content-Type"].startswith("text/html")
    page = answer["body"]
    for method, path in routes(DOCUMENT["paths"]):
        assert f"{method} {path}" in page
    assert "<script" not in page
    assert "http://" not in page
    assert "https://" not in page
    assert "default-src 'none'" in answer["headers"]["Content-Security-Policy"]
