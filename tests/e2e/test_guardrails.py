"""Guardrails against a real model, with real clients and an API token."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.e2e.conftest import Api

pytestmark = pytest.mark.cloud

CHAT = "smollm2-135m"
MAIL = "jo.doe@example.org"
ASK: Any = [{"role": "user", "content": f"Write to {MAIL}"}]
# The engine lets the model say this and nothing else.
SAY_IT: dict[str, Any] = {
    "messages": [{"role": "user", "content": "Whom shall I write to?"}],
    "max_tokens": 64,
    "response_format": {
        "type": "json_schema",
        "json_schema": {
            "name": "mail",
            "schema": {"type": "object", "properties": {"to": {"const": MAIL}}, "required": ["to"]},
        },
    },
}
PII = {"guardrailIdentifier": "builtin:pii"}


def entry(name: str, mode: str, action: str, **more: Any) -> dict[str, Any]:
    config = {"kinds": ["email"], "action": action}
    return {"guardrailName": name, "mode": mode, "config": config, **PII, **more}


GUARDED = {
    "g-block": [entry("no-mail-in", "pre_call", "block", allowedGroups=["team-a"])],
    "g-mask": [entry("mask-mail-in", "pre_call", "mask")],
    "g-post": [entry("no-mail-out", "post_call", "block")],
    "g-postmask": [entry("mask-mail-out", "post_call", "mask")],
    "g-none": [],
    "g-bedrock": [{"guardrailName": "bedrock", "guardrailIdentifier": "abc123def456"}],
}


@pytest.fixture(scope="module")
def guarded(admin: Api, provider: Any) -> Iterator[None]:
    """External models at a real server of our own, each with a guardrail."""
    for model_id, entries in GUARDED.items():
        admin.create(
            modelId=model_id,
            modelName=f"openai/{CHAT}",
            modelType="textgen",
            modelUrl=provider.url,
            apiKey=provider.key,
            guardrailsConfig={str(at): each for at, each in enumerate(entries)},
        )
    for model_id in GUARDED:
        admin.await_status(model_id, "InService")
    yield
    for model_id in GUARDED:
        admin.delete(model_id)


@pytest.fixture(scope="module")
def api_token(alice: Api) -> str:
    """Alice's, for a program: no way around a guardrail."""
    answer = alice.call("POST", "/api-tokens/", json_body={"name": "guardrails"})
    assert answer.status == 201, answer
    return str(answer.body["token"])


def client_of(cloud: Any, token: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=cloud.serve_url, api_key=token, max_retries=0, timeout=120)


@pytest.fixture(params=["sign-in", "API token"])
def caller(request: Any, cloud: Any, alice: Api, api_token: str) -> Iterator[openai.OpenAI]:
    with client_of(cloud, alice.token if request.param == "sign-in" else api_token) as client:
        yield client


def triggered(answer: Any) -> bool:
    return bool((answer.model_extra or {}).get("lisa_guardrail_triggered"))


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_is_blocked_for_the_guardrails_group_only(guarded, caller, cloud, bob, stream):
    # When alice, who is in the group, sends an address
    answer = caller.chat.completions.create(model="g-block", messages=ASK, max_tokens=8, stream=stream)

    # Then
    chunks = list(answer) if stream else [answer]
    assert all(triggered(each) for each in chunks)
    assert len(chunks) == (2 if stream else 1)
    first = chunks[0].choices[0]
    text = (first.delta if stream else first.message).content
    assert "no-mail-in" in text
    assert MAIL not in text
    # And somebody else's goes through
    with client_of(cloud, bob.token) as other:
        passed = other.chat.completions.create(model="g-block", messages=ASK, max_tokens=8)
    assert not triggered(passed)
    assert passed.choices[0].message.content


def test_an_innocent_request_goes_to_the_model(guarded, caller):
    hello: Any = [{"role": "user", "content": "Say hello"}]
    answer = caller.chat.completions.create(model="g-block", messages=hello, max_tokens=8)
    assert not triggered(answer)
    assert answer.choices[0].message.content


def test_a_masked_request_is_shorter_for_the_model(guarded, caller):
    # What the model is sent is not seen from here, but how long it finds it: the label, however long the address.
    def length(who: str) -> int:
        ask: Any = [{"role": "user", "content": f"Write to {who}@example.org now"}]
        return caller.chat.completions.create(model="g-mask", messages=ask, max_tokens=4).usage.prompt_tokens

    assert length("a" * 200) == length("b")


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_is_blocked(guarded, caller, stream):
    answer = caller.chat.completions.create(model="g-post", **SAY_IT, stream=stream)
    chunks = list(answer) if stream else [answer]
    assert all(triggered(each) for each in chunks)
    assert MAIL not in str(chunks)


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_is_masked(guarded, caller, stream):
    answer = caller.chat.completions.create(model="g-postmask", **SAY_IT, stream=stream)
    if stream:
        text = "".join(c.choices[0].delta.content or "" for c in answer if c.choices)
    else:
        text = answer.choices[0].message.content
    assert "[EMAIL]" in text
    assert MAIL not in text


def test_without_the_guardrail_the_model_does_say_it(guarded, caller):
    # Holds the two tests above against themselves.
    answer = caller.chat.completions.create(model="g-none", **SAY_IT)
    assert MAIL in answer.choices[0].message.content


def test_a_guardrail_that_cannot_be_reached_lets_nothing_through(guarded, caller):
    # There is no Bedrock on one machine, and the gateway's role may not use it.
    with pytest.raises(openai.APIStatusError) as caught:
        caller.chat.completions.create(model="g-bedrock", messages=ASK, max_tokens=4)
    assert caught.value.status_code == 503
    assert caught.value.code == "guardrail_unavailable"
    assert "bedrock" in caught.value.message


def test_a_model_shows_its_guardrails(guarded, admin):
    shown = admin.model("g-block")["guardrailsConfig"]["guardrail-no-mail-in"]
    assert shown["allowedGroups"] == ["team-a"]
    assert shown["guardrailVersion"] == "DRAFT"
    assert shown["mode"] == "pre_call"
