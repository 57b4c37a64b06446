"""Which models a caller sees, and what happens with those that they may not, cannot or should not call."""

import pytest

from tests.unit.gateway.harness import ADMIN, ALICE, BOB, HELLO, route

BODIES = {
    "chat/completions": {"messages": HELLO},
    "completions": {"prompt": "x"},
    "responses": {"input": "x"},
    "messages": {"messages": HELLO, "max_tokens": 5},
    "messages/count_tokens": {"messages": HELLO},
    "embeddings": {"input": "x"},
    "images/generations": {"prompt": "x"},
    "audio/speech": {"input": "x", "voice": "v"},
    "rerank": {"query": "x", "documents": ["y"]},
}
PREFIXES = ["/v1/", "/v2/serve/", "/v2/serve/v1/"]


def listed(gateway, token, prefix="/v1/"):
    return [model["id"] for model in gateway.request("GET", prefix + "models", token=token).json["data"]]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_list_holds_what_the_caller_may_use_and_what_is_ready(gateway, prefix):
    assert listed(gateway, ALICE, prefix) == ["e", "gone", "m", "tei"]
    assert listed(gateway, BOB, prefix) == ["e", "gone", "m", "secret", "tei"]
    assert listed(gateway, ADMIN, prefix) == ["e", "gone", "m", "secret", "tei"]


def test_a_listed_model_has_the_fields_of_openai_and_anthropic(gateway):
    document = gateway.request("GET", "/v1/models").json
    assert document["object"] == "list"
    assert document["has_more"] is False
    assert gateway.request("GET", "/v1/models/m").json == {
        "id": "m",
        "object": "model",
        "created": 1_700_000_000,
        "owned_by": "lisa",
        "type": "model",
        "display_name": "m",
        "created_at": "2023-11-14T22:13:20Z",
    }


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_model_of_other_groups_does_not_exist_at_any_endpoint(gateway, prefix, name):
    hidden = gateway.request("POST", prefix + name, token=ALICE, body={"model": "secret", **BODIES[name]})
    missing = gateway.request("POST", prefix + name, token=ALICE, body={"model": "nothing", **BODIES[name]})
    assert (hidden.status, missing.status) == (404, 404)
    # Nothing but the name and the request id may tell the two apart.
    for answer in (hidden, missing):
        answer.headers.pop("x-request-id")
        answer.headers.pop("date")
    normal = [a.body.replace(b"secret", b"nothing") for a in (hidden, missing)]
    if name.startswith("messages"):
        assert hidden.json["error"]["type"] == "not_found_error"
    else:
        assert hidden.error["code"] == "model_not_found"
        assert normal[0] == normal[1]
    assert gateway.upstream.asked == []


def test_a_name_with_signs_in_it_is_found_by_its_escaped_form(gateway):
    gateway.put(route("org:a.b", port=gateway.upstream.port))
    assert gateway.request("GET", "/v1/models/org%3Aa.b").json["id"] == "org:a.b"
    gateway.store.remove("org:a.b")
    gateway.await_version()


def test_a_hidden_model_is_neither_found_by_id_nor_in_model_info(gateway):
    assert gateway.request("GET", "/v1/models/secret", token=ALICE).status == 404
    assert gateway.request("GET", "/v1/models/secret", token=BOB).status == 200
    info = gateway.request("GET", "/v2/serve/model/info", token=ALICE).json["data"]
    assert "secret" not in {entry["model_name"] for entry in info}


def test_members_of_the_group_and_admins_may_call_it(gateway):
    assert gateway.chat(model="secret", token=BOB).status == 200
    assert gateway.chat(model="secret", token=ADMIN).status == 200


def test_model_info_tells_the_mode_and_no_address(gateway):
    info = gateway.request("GET", "/v2/serve/model/info", token=ADMIN)
    by_name = {entry["model_name"]: entry for entry in info.json["data"]}
    assert by_name["m"]["model_info"]["mode"] == "chat"
    assert by_name["e"]["model_info"]["mode"] == "embedding"
    assert isinstance(by_name["m"]["litellm_params"]["model"], str)
    assert b"127.0.0.1" not in info.body


def test_a_starting_model_is_not_listed_and_asks_to_come_back(gateway):
    answer = gateway.chat(model="soon")
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) > 0
    assert answer.error["code"] == "model_unavailable"
    assert gateway.request("GET", "/v1/models/soon").status == 404


@pytest.mark.parametrize(
    ("name", "model"),
    [
        *((name, "e") for name in BODIES if name != "embeddings"),
        *((name, "m") for name in ("embeddings", "images/generations", "audio/speech", "rerank")),
    ],
)
def test_a_model_of_another_kind_is_refused_by_name(gateway, name, model):
    answer = gateway.request("POST", "/v1/" + name, body={"model": model, **BODIES[name]})
    assert answer.status == 400
    assert f"`{model}`" in answer.error["message"]
    assert gateway.upstream.asked == []


def test_a_route_that_the_engine_speaks_goes_to_it_and_another_is_refused(gateway):
    assert gateway.request("POST", "/v1/rerank", body={"model": "tei", **BODIES["rerank"]}).status == 200
    assert gateway.upstream.asked[-1].path == "/v1/rerank"


@pytest.mark.parametrize("model", ["", None])
def test_a_missing_model_is_not_found(gateway, model):
    answer = gateway.chat(model=model)
    assert (answer.status, answer.error["code"], answer.error["param"]) == (404, "model_not_found", "model")


@pytest.mark.parametrize(
    "model", ["M", "m ", " m", "m\u0000", "m/../m", "m%00", "\u006d\u0301", "org/m", "m\n", "__proto__"]
)
def test_a_name_that_is_only_similar_is_not_found(gateway, model):
    assert gateway.chat(model=model).status == 404


@pytest.mark.parametrize("model", [1, True, ["m"], {"id": "m"}])
def test_a_model_that_is_no_string_is_named(gateway, model):
    answer = gateway.chat(model=model)
    assert (answer.status, answer.error["param"]) == (400, "model")


def test_a_model_appears_and_goes_without_a_restart(gateway):
    # When a route is put
    gateway.put(route("new", port=gateway.upstream.port))
    # Then it is callable
    assert gateway.chat(model="new").status == 200
    assert "new" in listed(gateway, ALICE)
    # When it is removed, Then it is not
    gateway.store.remove("new")
    gateway.await_version()
    assert gateway.chat(model="new").status == 404


def test_a_change_of_groups_takes_effect_for_tokens_already_known(gateway):
    gateway.put(route("team", port=gateway.upstream.port))
    assert gateway.chat(model="team", token=ALICE).status == 200
    gateway.put(route("team", groups=("team-b",), port=gateway.upstream.port))
    assert gateway.chat(model="team", token=ALICE).status == 404
    assert gateway.chat(model="team", token=BOB).status == 200
    gateway.store.remove("team")
    gateway.await_version()
