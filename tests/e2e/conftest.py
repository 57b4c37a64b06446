"""Real clients against the local cloud's public address."""

import json
import secrets
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from tests.cloud import ROOT, eventually


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, its body parsed when it is JSON."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


def http(
    method: str,
    url: str,
    *,
    token: str | None = None,
    json_body: Any = None,
    raw: bytes | None = None,
    headers: dict[str, str] | None = None,
    timeout: float = 60,
) -> Answer:
    """One request; errors are answers too."""
    data = raw if raw is not None else (json.dumps(json_body).encode() if json_body is not None else None)
    request = urllib.request.Request(url, data=data, method=method, headers=dict(headers or {}))
    if data is not None and not request.has_header("Content-type"):
        request.add_header("Content-Type", "application/json")
    if token is not None and not request.has_header("Authorization"):
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            status, body, got = response.status, response.read(), response.headers
    except urllib.error.HTTPError as error:
        status, body, got = error.code, error.read(), error.headers
    try:
        parsed = json.loads(body) if body else None
    except ValueError:
        parsed = body.decode("utf-8", "replace")
    return Answer(status, parsed, {name.lower(): value for name, value in got.items()})


@dataclass(frozen=True)
class Api:
    """The management API as one person sees it."""

    url: str
    token: str

    def call(self, method: str, path: str, **kwargs: Any) -> Answer:
        return http(method, self.url + path, token=self.token, **kwargs)

    def model(self, model_id: str) -> dict[str, Any] | None:
        answer = self.call("GET", f"/models/{model_id}")
        return answer.body["model"] if answer.status == 200 else None

    def create(self, **definition: Any) -> dict[str, Any]:
        answer = self.call("POST", "/models", json_body=definition)
        assert answer.status == 201, answer
        return answer.body["model"]

    def await_status(self, model_id: str, *wanted: str, within: float = 60) -> dict[str, Any]:
        def reached() -> dict[str, Any] | None:
            model = self.model(model_id)
            return model if model and model["status"] in wanted else None

        return eventually(
            f"{model_id} {'/'.join(wanted)} (now: {self.model(model_id)})", reached, within=within
        )

    def delete(self, model_id: str, *, within: float = 60) -> None:
        answer = self.call("DELETE", f"/models/{model_id}")
        assert answer.status == 200, answer
        eventually(f"{model_id} gone", lambda: self.model(model_id) is None, within=within)


@pytest.fixture(scope="session")
def api_url(cloud: Any) -> str:
    return cloud.api_url


@pytest.fixture(scope="session")
def serve_url(cloud: Any) -> str:
    return cloud.serve_url


@pytest.fixture(scope="session")
def admin(cloud: Any) -> Api:
    return Api(cloud.api_url, cloud.token("admin"))


@pytest.fixture(scope="session")
def alice(cloud: Any) -> Api:
    return Api(cloud.api_url, cloud.token("alice"))


@pytest.fixture(scope="session")
def bob(cloud: Any) -> Api:
    return Api(cloud.api_url, cloud.token("bob"))


@pytest.fixture
def client(cloud: Any) -> Iterator[openai.OpenAI]:
    """OpenAI's client; answers that do not fit its types are errors, and it never retries."""
    with openai.OpenAI(
        base_url=cloud.serve_url,
        api_key=cloud.token("alice"),
        max_retries=0,
        timeout=120,
        _strict_response_validation=True,
    ) as value:
        yield value


@pytest.fixture
def lenient(client: openai.OpenAI, cloud: Any) -> Iterator[openai.OpenAI]:
    """The same without the client's own check, where its types refuse what OpenAI itself sends."""
    with openai.OpenAI(base_url=cloud.serve_url, api_key=client.api_key, max_retries=0, timeout=120) as value:
        yield value


@pytest.fixture
def claude(cloud: Any) -> Iterator[anthropic.Anthropic]:
    """Anthropic's client against `/v1/messages`."""
    base = cloud.serve_url.removesuffix("/v1")
    with anthropic.Anthropic(
        base_url=base,
        api_key=cloud.token("alice"),
        max_retries=0,
        timeout=120,
        _strict_response_validation=True,
    ) as value:
        yield value


@dataclass(frozen=True)
class Provider:
    """An external provider: a real model server that wants its key."""

    url: str
    key: str


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    """A second real server on loopback, outside the cloud, that refuses calls without its key."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    key = "sk-" + secrets.token_hex(16)
    log = tmp_path_factory.mktemp("provider") / "log"
    python = ROOT / ".venvs" / "model" / "bin" / "python"
    with open(log, "wb") as out:
        process = subprocess.Popen(
            [python, Path(__file__).parent / "provider.py", str(port), key],
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
        )
    try:
        url = f"http://127.0.0.1:{port}"

        def up() -> bool:
            assert process.poll() is None, log.read_text()
            try:
                return (
                    http("GET", f"{url}/health", headers={"Authorization": f"Bearer {key}"}, timeout=1).status
                    == 200
                )
            except OSError:
                return False

        eventually("the provider's start", up, within=60)
        assert http("POST", f"{url}/v1/chat/completions", json_body={"messages": []}).status == 401
        yield Provider(f"{url}/v1", key)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
