"""API Gateway's own answers have the shape that the API's document gives them, as on AWS."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable

from .conftest import Cloud, deploy

STACK = """
Resources:
  Api:
    Type: AWS::ApiGateway::RestApi
    Properties:
      Body:
        openapi: 3.0.3
        info: {title: shaped, version: "1"}
        paths:
          /known:
            get:
              security: []
              x-amazon-apigateway-integration: {type: mock}
        x-amazon-apigateway-gateway-responses:
          MISSING_AUTHENTICATION_TOKEN:
            statusCode: 404
            responseTemplates:
              application/json: '{"message": "No such route", "requestId": "$context.requestId"}'
  Deployment:
    Type: AWS::ApiGateway::Deployment
    Properties: {RestApiId: !Ref Api, StageName: stage}
Outputs:
  Api: {Value: !Ref Api}
"""


def test_an_unknown_route_is_answered_as_the_document_says(new_cloud: Callable[..., Cloud]) -> None:
    # Given
    cloud = new_cloud()
    cloud.start("engine")
    cloud.start("emulator")
    api = deploy(cloud, "shaped", STACK)["Api"]

    # When
    url = f"{cloud.client('apigateway').meta.endpoint_url}/_aws/execute-api/{api}/stage/unknown"
    try:
        urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": "*/*"}), timeout=10)
        raise AssertionError("an unknown route was answered")
    except urllib.error.HTTPError as error:
        status, body = error.code, json.loads(error.read())

    # Then
    assert status == 404
    assert body["message"] == "No such route"
    assert body["requestId"]
