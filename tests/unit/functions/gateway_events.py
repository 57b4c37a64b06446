"""API Gateway in front of the functions, in process: a WSGI application that turns requests into their events."""

import base64
import json
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl, quote

from tests.unit.functions.conftest import Context
from tests.unit.functions.samples import ROOT, sample
from tests.unit.templates.application import load

METHODS = ("get", "post", "put", "patch", "delete")


def deployed() -> dict[tuple[str, str], str]:
    """The folder of the function behind each route, as the template of the API says."""
    paths = load(ROOT / "stacks" / "api.yaml")["Resources"]["Api"]["Properties"]["DefinitionBody"]["paths"]
    found = {}
    for path, methods in paths.items():
        for method in METHODS:
            if method in methods:
                uri = methods[method]["x-amazon-apigateway-integration"]["uri"]["Fn::Sub"]
                # A function of another stack comes as a parameter of this name.
                name = uri.rpartition("${")[2].removesuffix("}/invocations").removesuffix("Arn").rstrip(".")
                found[method.upper(), path] = "".join(
                    "_" + letter.lower() if letter.isupper() else letter for letter in name
                ).strip("_")
    return found


def matches(template: str, path: str) -> bool:
    wanted, given = template.split("/"), path.split("/")
    return len(wanted) == len(given) and all(
        want == have or (want.startswith("{") and have) for want, have in zip(wanted, given, strict=True)
    )


class Api:
    """Calls the handlers for one caller, whom the authorizer is taken to have let in."""

    def __init__(
        self, handler: Callable[[str], Callable[[Any, Any], Any]], user: str, groups: list[str]
    ) -> None:
        self._handler = handler
        self._routes = deployed()
        self._authorizer = {
            "principalId": user,
            "user": user,
            "groups": json.dumps(groups),
            "isAdmin": "true" if "admin" in groups else "false",
            "isRagAdmin": "true" if "rag-admin" in groups else "false",
            "expiresAt": "4000000000",
        }

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        headers = {
            name[5:].replace("_", "-").title(): value
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        if environ.get("CONTENT_TYPE"):
            headers["Content-Type"] = environ["CONTENT_TYPE"]
        # As it was sent: WSGI would have it decoded.
        path = (environ.get("REQUEST_URI") or quote(environ["PATH_INFO"], encoding="latin-1")).partition("?")[
            0
        ]
        content = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        answer = self.answer(
            environ["REQUEST_METHOD"], path, environ.get("QUERY_STRING", ""), headers=headers, content=content
        )
        given = [(name, str(value)) for name, value in (answer.get("headers") or {}).items()]
        for name, values in (answer.get("multiValueHeaders") or {}).items():
            given += [(name, str(value)) for value in values]
        start_response(f"{answer['statusCode']} x", given)
        body = answer.get("body") or ""
        return [base64.b64decode(body) if answer.get("isBase64Encoded") else body.encode()]

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and parsed body of one call; the path is taken as it is."""
        content = b"" if body is None else json.dumps(body).encode()
        answer = self.answer(method, path, headers={"Accept": "application/json"}, content=content)
        return answer["statusCode"], json.loads(answer["body"])

    def answer(
        self, method: str, path: str, query: str = "", *, headers: dict[str, str], content: bytes
    ) -> dict[str, Any]:
        resource = min(
            (template for verb, template in self._routes if verb == method and matches(template, path)),
            key=lambda template: template.count("{"),
            default=None,
        )
        if resource is None:  # what API Gateway answers by itself
            body = {"message": "There is no such route.", "code": "not_found", "requestId": "x"}
            return {
                "statusCode": 404,
                "headers": {"Content-Type": "application/json"},
                "body": json.dumps(body),
            }
        event = self._event(method, path, resource)
        many: dict[str, list[str]] = {}
        for name, value in parse_qsl(query, keep_blank_values=True):
            many.setdefault(name, []).append(value)
        try:
            text, encoded = content.decode(), False
        except UnicodeDecodeError:
            text, encoded = base64.b64encode(content).decode(), True
        event |= {
            "headers": headers,
            "multiValueHeaders": {name: [value] for name, value in headers.items()},
            "queryStringParameters": {name: values[-1] for name, values in many.items()} or None,
            "multiValueQueryStringParameters": many or None,
            "body": text or None,
            "isBase64Encoded": encoded,
        }
        result: dict[str, Any] = self._handler(self._routes[method, resource])(event, Context())
        return result

    def _event(self, method: str, path: str, resource: str) -> dict[str, Any]:
        parts = zip(resource.split("/"), path.split("/"), strict=True)
        event = sample("models_api") | {
            "httpMethod": method,
            "path": path,
            "resource": resource,
            "pathParameters": {name[1:-1]: value for name, value in parts if name.startswith("{")} or None,
        }
        event["requestContext"] |= {
            "httpMethod": method,
            "path": f"/lisa{path}",
            "resourcePath": resource,
            "authorizer": self._authorizer,
        }
        return event
