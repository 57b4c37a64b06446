"""External models, through the real LiteLLM in a process of its own, against a provider on loopback."""

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from lisa.guardrails.definition import Guardrail
from lisa.models.routes import HostedTarget, ProviderTarget
from lisa_gateway.validation import forbidden

from tests.unit.gateway.harness import (
    ALICE,
    BOB,
    DONE,
    HELLO,
    USAGE,
    chat_answer,
    chunk,
    document,
    events,
    route,
    running,
    wait_for,
)

ROOT = Path(__file__).parents[3]
PYTHON = ROOT / ".venvs/gateway/bin/python"
START = 180


MAIL = "jo.doe@example.org"


def guardrail(**changes):
    return Guardrail(**{"name": "no-mail", "identifier": "builtin:pii", "kinds": ("email",), **changes})


def provider(model_id, port, *, model="openai/gpt-x", mode="chat", secret="arn:1", base=None, **rest):
    target = ProviderTarget(model=model, api_base=base or f"http://127.0.0.1:{port}/v1", secret_arn=secret)
    return route(model_id, mode=mode, target=target, **rest)


def read_secret(arn):
    if arn == "arn:unreadable":
        raise PermissionError("AccessDenied")
    return f"sk-provider-{arn}"


@pytest.fixture(scope="module")
def shared():
    assert PYTHON.exists(), "the gateway's environment is missing: run `make setup`"
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = f"{ROOT / 'containers/litellm'}:{ROOT / 'layers/lisa'}"

    def routes(port):
        tgi = HostedTarget(engine="tgi", base_url=f"http://127.0.0.1:{port}", host_header="tgi.internal")
        return [
            provider("x", port),
            provider("team", port, groups=("team-b",)),
            provider("nokey", port, secret=None),
            provider("unreadable", port, secret="arn:unreadable"),
            provider("down", 1),
            provider("elsewhere", port, base="http://169.254.169.254/v1"),
            provider("emb", port, mode="embedding"),
            provider("img", port, mode="image_generation"),
            provider("tts", port, mode="audio_speech"),
            provider("stt", port, mode="audio_transcription", model="openai/whisper-1"),
            *(
                provider(f"{name}-{kind}", port, mode=mode, model=model, guardrails=(guard,))
                for name, mode, model in (
                    ("img", "image_generation", "openai/gpt-x"),
                    ("tts", "audio_speech", "openai/gpt-x"),
                    ("stt", "audio_transcription", "openai/whisper-1"),
                )
                for kind, guard in (
                    ("pre", guardrail()),
                    ("mask", guardrail(action="mask")),
                    ("post", guardrail(mode="post_call")),
                )
            ),
            route("tgi", target=tgi),
            route("m", port=port),
        ]

    try:
        with running(
            routes=routes,
            read_secret=read_secret,
            allowed_provider_hosts=("127.0.0.1",),
            litellm_command=(str(PYTHON), "-m", "lisa_gateway.litellm_app"),
        ) as value:
            wait_for(lambda: "x" in value.application.litellm._registered, START)
            yield value
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


@pytest.fixture
def gateway(shared, monkeypatch):
    shared.upstream.reply = document(chat_answer())
    shared.upstream.replies.clear()
    shared.upstream.asked.clear()
    shared.upstream.left.clear()
    return shared


def test_an_external_model_answers_and_its_provider_sees_its_own_key_only(gateway):
    answer = gateway.chat(model="x", headers={"anthropic-beta": "b", "x-litellm-tags": "t"})
    assert answer.status == 200
    assert answer.json["choices"][0]["message"]["content"] == "hi"
    assert answer.json["model"] == "x"
    asked = gateway.upstream.asked[-1]
    assert asked.headers["authorization"] == "Bearer sk-provider-arn:1"
    assert asked.json["model"] == "gpt-x"
    assert ALICE not in asked.raw_head
    assert gateway.lines()[-1]["completionTokens"] == 3


def test_a_server_without_keys_is_called_without_a_secret(gateway):
    assert gateway.chat(model="nokey").status == 200
    assert gateway.upstream.asked[-1].headers["authorization"] == "Bearer none"


def test_groups_count_for_external_models_too(gateway):
    assert gateway.chat(model="team", token=ALICE).status == 404
    assert gateway.chat(model="team", token=BOB).status == 200


def test_a_stream_comes_without_usage_unless_asked_and_is_counted(gateway):
    pieces = [
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "hi"}),
        chunk({}, "stop"),
        USAGE,
        DONE,
    ]
    for asked in (False, True):
        gateway.upstream.reply = events(*pieces, gap=0.01)
        answer = gateway.chat(
            model="x", stream=True, **({"stream_options": {"include_usage": True}} if asked else {})
        )
        assert answer.headers["content-type"].startswith("text/event-stream")
        chunks = [
            json.loads(line[6:]) for line in answer.body.decode().splitlines() if line.startswith("data: {")
        ]
        assert "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"]) == "hi"
        assert any("usage" in c and c["usage"] for c in chunks) is asked
        assert answer.body.endswith(DONE)
        assert gateway.lines()[-1]["completionTokens"] == 3
        if not asked:
            assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("status", "body", "expected", "code"),
    [
        (
            401,
            {
                "error": {
                    "message": "Incorrect API key provided: sk-provider-arn:1",
                    "code": "invalid_api_key",
                }
            },
            502,
            "provider_credentials_refused",
        ),
        (403, {"error": {"message": "no"}}, 502, "provider_credentials_refused"),
        (404, {"error": {"message": "no such model"}}, 502, "provider_not_found"),
        (
            400,
            {"error": {"message": "temperature is too hot", "param": "temperature"}},
            400,
            "invalid_request",
        ),
        (
            400,
            {
                "error": {
                    "message": "This model's maximum context length is 4096 tokens.",
                    "code": "context_length_exceeded",
                }
            },
            400,
            "context_length_exceeded",
        ),
        (503, {"error": {"message": "overloaded"}}, 503, "model_unavailable"),
    ],
)
def test_errors_of_providers_get_the_same_shape(gateway, status, body, expected, code):
    gateway.upstream.reply = document(body, status)
    answer = gateway.chat(model="x")
    assert (answer.status, answer.error["code"]) == (expected, code)
    assert "sk-provider" not in answer.body.decode()
    assert "litellm" not in answer.body.decode().lower()


def test_a_providers_rate_limit_passes_with_its_retry_after(gateway):
    gateway.upstream.reply = document({"error": {"message": "slow down"}}, 429, retry_after="17")
    answer = gateway.chat(model="x")
    assert (answer.status, answer.error["code"]) == (429, "rate_limit_exceeded")
    assert answer.headers["retry-after"] == "17"


def test_a_provider_that_is_down_is_503_with_retry_after(gateway):
    answer = gateway.chat(model="down")
    assert (answer.status, answer.error["code"]) == (503, "model_unavailable")
    assert int(answer.headers["retry-after"]) > 0


def test_a_key_that_cannot_be_read_makes_that_model_unavailable_and_no_other(gateway):
    answer = gateway.chat(model="unreadable")
    assert (answer.status, answer.error["code"]) == (503, "model_unavailable")
    assert gateway.chat(model="x").status == 200


def test_a_provider_at_an_address_that_is_not_allowed_is_never_called(gateway):
    assert gateway.chat(model="elsewhere").status == 503


@pytest.mark.parametrize("stream", [False, True])
def test_a_caller_that_leaves_cancels_the_providers_call(gateway, stream):
    async def never(asked, writer):
        await asyncio.sleep(60)

    async def endless(asked, writer):
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        while True:
            piece = chunk({"content": "x"})
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
            await asyncio.sleep(0.02)

    gateway.upstream.reply = endless if stream else never
    sock = gateway.open(model="x", stream=stream)
    wait_for(lambda: gateway.upstream.asked)
    if stream:
        sock.recv(1000)
    sock.close()
    assert gateway.upstream.left.wait(10)


def test_embeddings_images_and_speech_pass_through(gateway):
    gateway.upstream.reply = document(
        {
            "object": "list",
            "model": "m",
            "data": [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}],
            "usage": {"prompt_tokens": 2, "total_tokens": 2},
        }
    )
    answer = gateway.request("POST", "/v1/embeddings", body={"model": "emb", "input": ["x"]})
    assert answer.json["data"][0]["embedding"] == [0.5, 0.25]
    gateway.upstream.reply = document({"created": 5, "data": [{"b64_json": "aGk="}]})
    answer = gateway.request("POST", "/v1/images/generations", body={"model": "img", "prompt": "x"})
    assert (answer.status, answer.json["data"][0]["b64_json"]) == (200, "aGk=")
    sound = bytes(range(256)) * 100
    gateway.upstream.reply = document(sound, content_type="audio/mpeg")
    answer = gateway.request("POST", "/v1/audio/speech", body={"model": "tts", "input": "x", "voice": "v"})
    assert (answer.status, answer.body) == (200, sound)


def form(*fields):
    boundary = "b0undary"
    body = b""
    for name, value, filename in fields:
        extra = f'; filename="{filename}"\r\nContent-Type: audio/wav' if filename else ""
        body += (
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n'.encode()
            + value
            + b"\r\n"
        )
    return body + f"--{boundary}--\r\n".encode(), {
        "Content-Type": f"multipart/form-data; boundary={boundary}"
    }


def test_a_form_is_judged_by_its_model_and_sent_on(gateway):
    gateway.upstream.reply = document({"text": "heard"})
    sound = b"RIFF\x00\r\n--b0un\x00" * 50
    raw, headers = form(("model", b"stt", None), ("language", b"en", None), ("file", sound, "a.wav"))
    answer = gateway.request("POST", "/v1/audio/transcriptions", raw=raw, headers=headers)
    assert (answer.status, answer.json["text"]) == (200, "heard")
    assert sound in gateway.upstream.asked[-1].body
    assert b"whisper-1" in gateway.upstream.asked[-1].body


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ([("model", b"nothing", None)], 404, "model"),
        ([("file", b"x", "a.wav")], 404, "model"),
        ([("model", b"stt", None), ("model", b"x", None)], 400, "model"),
        ([("model", b"x", None)], 400, "model"),
        ([("model", b"stt", None), ("api_base", b"http://evil", None)], 400, "api_base"),
    ],
)
def test_a_wrong_form_is_refused(gateway, fields, status, param):
    raw, headers = form(*fields)
    answer = gateway.request("POST", "/v1/audio/transcriptions", raw=raw, headers=headers)
    assert (answer.status, answer.error["param"]) == (status, param)
    assert gateway.upstream.asked == []


PICTURE = {"prompt": f"a letter to {MAIL}"}
SPEECH = {"input": f"write to {MAIL}", "voice": "v"}


@pytest.mark.parametrize(
    ("path", "model", "body"), [("images/generations", "img", PICTURE), ("audio/speech", "tts", SPEECH)]
)
def test_guardrails_read_what_pictures_and_speech_are_made_of(gateway, path, model, body):
    blocked = gateway.request("POST", f"/v1/{path}", body={"model": f"{model}-pre", **body})
    assert blocked.status == 400
    assert b"no-mail" in blocked.body
    assert MAIL.encode() not in blocked.body
    assert gateway.upstream.asked == []

    gateway.upstream.reply = document({"created": 5, "data": [{"b64_json": "aGk="}]})
    masked = gateway.request("POST", f"/v1/{path}", body={"model": f"{model}-mask", **body})
    assert masked.status == 200
    assert MAIL.encode() not in gateway.upstream.asked[-1].body
    assert b"to " in gateway.upstream.asked[-1].body


@pytest.mark.parametrize(
    ("path", "model", "body"), [("images/generations", "img", PICTURE), ("audio/speech", "tts", SPEECH)]
)
def test_an_answer_that_is_no_text_is_refused_where_answers_are_judged(gateway, path, model, body):
    answer = gateway.request("POST", f"/v1/{path}", body={"model": f"{model}-post", **body})
    assert answer.status == 400
    assert b"cannot read" in answer.body
    assert gateway.upstream.asked == []


@pytest.mark.parametrize(
    ("path", "model", "fields", "says"),
    [
        ("audio/transcriptions", "stt-pre", [("file", b"RIFF", "a.wav")], b"the file"),
        ("audio/translations", "stt-pre", [("file", b"RIFF", "a.wav")], b"the file"),
        ("images/edits", "img-pre", [("image", b"PNG", "a.png"), ("prompt", b"x", None)], b"the file"),
        ("images/edits", "img-pre", [("prompt", MAIL.encode(), None)], b"no-mail"),
        ("audio/transcriptions", "stt-pre", [("prompt", MAIL.encode(), None)], b"no-mail"),
        ("images/edits", "img-post", [("prompt", b"x", None)], b"cannot read"),
    ],
)
def test_a_guardrail_reads_the_fields_of_a_form_and_lets_no_file_pass(gateway, path, model, fields, says):
    raw, headers = form(("model", model.encode(), None), *fields)
    answer = gateway.request("POST", f"/v1/{path}", raw=raw, headers=headers)
    assert says in answer.body
    assert MAIL.encode() not in answer.body
    assert gateway.upstream.asked == []


def test_a_field_of_a_form_is_masked(gateway):
    gateway.upstream.reply = document({"text": "heard"})
    raw, headers = form(
        ("model", b"stt-mask", None), ("prompt", f"from {MAIL} to".encode(), None), ("language", b"en", None)
    )
    answer = gateway.request("POST", "/v1/audio/transcriptions", raw=raw, headers=headers)
    # Without a file LiteLLM may refuse it; what matters is what it would have been sent.
    assert all(MAIL.encode() not in asked.body for asked in gateway.upstream.asked)
    assert MAIL.encode() not in answer.body


def test_the_transcript_is_judged(gateway):
    gateway.upstream.reply = document({"text": f"write to {MAIL}"})
    raw, headers = form(("model", b"stt-post", None), ("file", b"RIFF" * 50, "a.wav"))
    answer = gateway.request("POST", "/v1/audio/transcriptions", raw=raw, headers=headers)
    assert gateway.upstream.asked
    assert MAIL.encode() not in answer.body
    assert b"no-mail" in answer.body


def test_messages_become_chat_and_come_back_as_messages(gateway):
    answer = gateway.request(
        "POST", "/v1/messages", body={"model": "x", "messages": HELLO, "max_tokens": 5, "system": "be brief"}
    )
    asked = gateway.upstream.asked[-1]
    assert asked.path == "/v1/chat/completions"
    assert asked.json["messages"][0] == {"role": "system", "content": "be brief"}
    assert answer.json["type"] == "message"
    assert answer.json["content"][0]["text"] == "hi"
    assert answer.json["usage"]["output_tokens"] == 3


def test_tokens_of_an_external_model_are_estimated_when_its_provider_cannot_count(gateway):
    gateway.upstream.reply = document({"error": {"message": "no such route"}}, 404)
    answer = gateway.request("POST", "/v1/messages/count_tokens", body={"model": "x", "messages": HELLO})
    assert answer.json["input_tokens"] > 0


@pytest.mark.parametrize(
    ("path", "body"), [("messages", {"messages": HELLO, "max_tokens": 5}), ("responses", {"input": "hello"})]
)
def test_a_route_that_a_hosted_engine_does_not_speak_is_translated(gateway, path, body):
    answer = gateway.request("POST", "/v1/" + path, body={"model": "tgi", **body})
    assert answer.status == 200, answer.body
    assert "hi" in json.dumps(answer.json)
    asked = gateway.upstream.asked[-1]
    assert asked.path == "/v1/chat/completions"
    assert asked.headers["host"] == "tgi.internal"


def test_models_come_and_go_while_it_runs(gateway):
    gateway.put(provider("later", gateway.upstream.port, secret="arn:2"))
    wait_for(lambda: gateway.chat(model="later").status == 200)
    assert gateway.upstream.asked[-1].headers["authorization"] == "Bearer sk-provider-arn:2"
    # a new key for the same model
    gateway.put(provider("later", gateway.upstream.port, secret="arn:3"))
    wait_for(
        lambda: (
            gateway.chat(model="later").status == 200
            and gateway.upstream.asked[-1].headers["authorization"] == "Bearer sk-provider-arn:3"
        )
    )
    gateway.store.remove("later")
    gateway.await_version()
    assert gateway.chat(model="later").status == 404


def test_hosted_models_are_served_while_it_is_dead_and_it_comes_back(gateway, caplog):
    process = gateway.application.litellm._process
    os.kill(process.pid, signal.SIGKILL)
    wait_for(lambda: gateway.chat(model="x").status == 503)
    assert gateway.chat(model="m").status == 200
    wait_for(lambda: "x" in gateway.application.litellm._registered, START)
    assert gateway.chat(model="x").status == 200
    assert gateway.application.litellm._process.pid != process.pid


def test_every_name_that_litellm_keeps_for_itself_is_refused():
    """Held against the pinned LiteLLM's own lists, so that a new version cannot open a way unseen."""
    code = (
        "import json; from litellm.types.utils import all_litellm_params as a; "
        "from litellm.proxy.auth.auth_utils import _BANNED_REQUEST_BODY_PARAMS as b; "
        "from litellm.types.router import GenericLiteLLMParams as g, LiteLLM_Params as p; "
        "print(json.dumps(sorted({*a, *b, *g.model_fields, *p.model_fields})))"
    )
    env = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    out = subprocess.run(
        [str(PYTHON), "-c", code], check=True, capture_output=True, text=True, env=env
    ).stdout
    names = json.loads(out.splitlines()[-1])
    assert len(names) > 300
    # What callers of the public APIs send as well: judged by what it holds, or harmless.
    public = {"model", "metadata"}
    assert [name for name in names if not forbidden(name) and name not in public] == []


def test_what_it_prints_is_logged_without_keys(gateway, caplog):
    with caplog.at_level(logging.INFO):
        litellm = gateway.application.litellm
        assert "sk-provider-arn:1" not in litellm._redact("failed with sk-provider-arn:1")
        assert litellm._key not in litellm._redact(f"bad key {litellm._key}")
        gateway.upstream.reply = document({"error": {"message": "bad sk-provider-arn:1"}}, 401)
        gateway.chat(model="x")
    assert "sk-provider" not in caplog.text


def test_it_is_prepared_before_an_external_model_needs_it(tmp_path):
    # Given a stand-in that only tells that it was started
    mark = tmp_path / "started"
    script = "import pathlib, sys; pathlib.Path(sys.argv[1]).touch(); sys.stdin.read()"
    command = (sys.executable, "-c", script, str(mark))
    # When a gateway without any external model runs
    with running(litellm_command=command, prepare_seconds=0.05):
        # Then
        wait_for(mark.exists)


def test_hosted_models_do_not_wait_for_it_to_start(tmp_path):
    # Given a stand-in that never gets ready
    command = (sys.executable, "-c", "import sys; sys.stdin.read()")
    with running(litellm_command=command, prepare_seconds=0) as gateway:
        store = gateway.store
        wait_for(lambda: gateway.application.litellm._process is not None)
        # When a hosted model comes
        store.put(route("another", port=gateway.upstream.port))
        # Then its version is acknowledged although LiteLLM is not there
        wait_for(lambda: store.acknowledged[-1][1] == store.number)
        assert gateway.application.litellm.in_step
