"""What API Gateway answers by itself has the shape that the API's document gives it.

The emulator knows such responses, but does not read them from an OpenAPI document.
"""

from __future__ import annotations

from typing import Any

from ministack.services import apigateway_v1

from lisa_local.emulator.bridges.seams import Bridge, Context, original, replace

EXTENSION = "x-amazon-apigateway-gateway-responses"


def install(_: Context) -> None:
    import_api = original(apigateway_v1, "_import_rest_api")
    put_response = original(apigateway_v1, "_put_gateway_response")

    def import_with_responses(spec: dict[str, Any], base_data: dict[str, Any] | None = None) -> str:
        api_id: str = import_api(spec, base_data)
        for kind, response in (spec.get(EXTENSION) or {}).items():
            status, _headers, body = put_response(api_id, kind, response)
            if status >= 400:
                raise ValueError(f"{EXTENSION}/{kind}: {body!r}")
        return api_id

    replace(apigateway_v1, "_import_rest_api", import_with_responses)


BRIDGE = Bridge("gateway_responses", "an API's document shapes what API Gateway answers itself", install)
