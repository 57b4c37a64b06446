"""A model of other groups does not exist: at every endpoint, whichever header brings the token."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from lisa_gateway.callers import _CREDENTIALS
from lisa_gateway.endpoints import ENDPOINTS, Endpoint

from tests.unit.gateway.harness import ADMIN, ALICE, BOB, Answer, Running, document, route, running

# Of one length, so that lengths may be compared too.
HIDDEN, MISSING = "hidden-{}", "absent-{}"
HEADERS = [{name.decode(): form} for name in _CREDENTIALS for form in ("{}", "Bearer {}")]
PREFIXES = ["/v1", "/v2/serve", "/v2/serve/v1"]
_KINDS = sorted({mode for endpoint in ENDPOINTS.values() for mode in endpoint.modes})


def hidden(mode: str) -> str:
    return HIDDEN.format(mode)


@pytest.fixture(scope="module")
def shared() -> Iterator[Running]:
    def routes(port: int) -> list:
        return [
            route(hidden(mode), mode=mode, engine="vllm", groups=("team-b",), port=port) for mode in _KINDS
        ]

    with running(routes=routes) as value:
        yield value


def body_of(endpoint: Endpoint, model: str) -> tuple[bytes | None, Any, dict[str, str]]:
    """A call with every required field, made of the endpoint's own table: raw bytes or a document, and headers."""
    if endpoint.multipart:
        form = f'--b\r\ncontent-disposition: form-data; name="model"\r\n\r\n{model}\r\n--b--\r\n'
        return form.encode(), None, {"content-type": "multipart/form-data; boundary=b"}
    candidates = ["x", [{"role": "user", "content": "x"}], ["x"], 1, True, {}]
    fields = {
        name: next(v for v in candidates if endpoint.fields[name].fits(v)) for name in endpoint.required
    }
    return None, {"model": model, **fields}, {}


def call(
    gateway: Running, prefix: str, endpoint: Endpoint, model: str, header: dict[str, str], token: str
) -> Answer:
    raw, body, extra = body_of(endpoint, model)
    extra["x-request-id"] = "r1"  # the gateway's own may grow by a digit between two calls
    given = {name: form.format(token) for name, form in header.items()}
    return gateway.request(
        "POST", f"{prefix}/{endpoint.name}", token=None, raw=raw, body=body, headers={**extra, **given}
    )


def same(first: Answer, second: Answer) -> None:
    """Nothing but the request id, the date and the name tells one from the other."""
    seen = []
    for answer, name in ((first, "hidden-"), (second, "absent-")):
        headers = {k: v for k, v in answer.headers.items() if k not in ("date", "x-request-id")}
        body = answer.body.replace(answer.headers["x-request-id"].encode(), b"<id>")
        seen.append((answer.status, headers, re.sub(rb"%b" % name.encode(), b"", body)))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("header", HEADERS, ids=lambda header: "-".join(*header.items()))
@pytest.mark.parametrize("name", ENDPOINTS)
def test_a_call_of_a_hidden_model_is_answered_as_one_that_does_not_exist(gateway, name, header):
    endpoint = ENDPOINTS[name]
    for mode in _KINDS:
        for prefix in PREFIXES:
            unseen = call(gateway, prefix, endpoint, hidden(mode), header, ALICE)
            assert unseen.status == 404, (prefix, mode)
            same(unseen, call(gateway, prefix, endpoint, MISSING.format(mode), header, ALICE))
    assert gateway.upstream.asked == []


@pytest.mark.parametrize("token", [BOB, ADMIN], ids=["member", "admin"])
@pytest.mark.parametrize("name", [name for name, e in ENDPOINTS.items() if not e.multipart])
def test_whoever_may_use_it_is_not_told_that_it_does_not_exist(gateway, name, token):
    # Holds the test above against itself: its calls are good ones.
    gateway.upstream.reply = document({})
    endpoint = ENDPOINTS[name]
    for mode in endpoint.modes:
        answer = call(gateway, "/v1", endpoint, hidden(mode), {"authorization": "Bearer {}"}, token)
        assert answer.status != 404, answer.body
        # An engine may not offer the route; with the body there is nothing wrong.
        assert answer.status == 200 or answer.error["code"] == "unsupported_route", answer.body


@pytest.mark.parametrize("header", HEADERS, ids=lambda header: "-".join(*header.items()))
@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_hidden_model_is_in_no_list_and_found_by_no_name(gateway, prefix, header):
    def get(path: str, token: str) -> Answer:
        return gateway.request(
            "GET", path, token=None, headers={name: form.format(token) for name, form in header.items()}
        )

    for mode in _KINDS:
        same(
            get(f"{prefix}/models/{hidden(mode)}", ALICE),
            get(f"{prefix}/models/{MISSING.format(mode)}", ALICE),
        )
        assert get(f"{prefix}/models/{hidden(mode)}", ALICE).status == 404
        assert get(f"{prefix}/models/{hidden(mode)}", BOB).status == 200
    for path in (f"{prefix}/models", "/v2/serve/model/info"):
        assert b"hidden-" not in get(path, ALICE).body
        assert b"hidden-" in get(path, BOB).body
