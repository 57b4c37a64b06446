"""`guardrailsConfig` as people send it, as it is read back, and as it travels in a route."""

import pytest
from lisa.errors import InvalidRequest
from lisa.guardrails.definition import Guardrail
from lisa.models.record import ModelRecord
from lisa.models.routes import HostedTarget, Route
from lisa.models.schema import CreateModel
from pydantic import ValidationError

from tests.unit.models.bodies import external, record

ENTRY = {"guardrailName": "g", "guardrailIdentifier": "abc123"}


def definition(**entries):
    return CreateModel.model_validate(external(guardrailsConfig=entries)).definition()


def test_an_entry_is_read_back_with_upstreams_fields_under_its_name():
    shown = definition(x=ENTRY).stored()["guardrailsConfig"]
    assert shown == {
        "guardrail-g": {
            **ENTRY, "guardrailVersion": "DRAFT", "mode": "pre_call", "description": None, "allowedGroups": [],
            "markedForDeletion": False, "config": None,
        }
    }  # fmt: skip


def test_what_get_answered_can_be_posted_again_and_survives_the_table():
    config = {"patterns": ["a+"], "action": "mask"}
    first = definition(x={**ENTRY, "guardrailIdentifier": "builtin:patterns", "config": config})
    assert definition(**first.stored()["guardrailsConfig"]).stored() == first.stored()
    row = record(first.stored())
    assert ModelRecord.from_item(row.item()) == row


def test_an_entry_marked_for_deletion_is_left_out():
    assert definition(x={**ENTRY, "markedForDeletion": True}).stored()["guardrailsConfig"] == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"guardrailName": None}, {"guardrailName": ""}, {"guardrailName": "<b>"}, {"guardrailName": "a" * 65},
        {"guardrailIdentifier": None}, {"guardrailIdentifier": "builtin:magic"}, {"guardrailIdentifier": "A B"},
        {"guardrailIdentifier": "arn:aws:s3:::x"}, {"guardrailVersion": "latest"}, {"mode": "sometimes"},
        {"guardrailIdentifier": "builtin:patterns"}, {"config": {"action": "mask"}},
        {"guardrailIdentifier": "builtin:patterns", "config": {"patterns": ["("]}},
        {"guardrailIdentifier": "builtin:patterns", "config": {"patterns": ["a*"]}},
        {"guardrailIdentifier": "builtin:patterns", "config": {"patterns": ["a" * 257]}},
        {"guardrailIdentifier": "builtin:patterns", "config": {"patterns": ["a"] * 51}},
        {"guardrailIdentifier": "builtin:patterns", "config": {"patterns": ["a"], "action": "log"}},
        {"guardrailIdentifier": "builtin:pii", "config": {"kinds": []}},
        {"guardrailIdentifier": "builtin:pii", "config": {"kinds": ["shoe_size"]}},
        {"guardrailIdentifier": "builtin:pii", "config": {"patterns": ["a"]}},
        {"allowedGroups": [1]},
    ],
)  # fmt: skip
def test_what_could_not_be_enforced_is_refused(changes):
    with pytest.raises(ValidationError) as caught:
        definition(x={**ENTRY, **changes})
    assert "guardrailsConfig" in str(caught.value)


def test_two_of_one_name_are_refused():
    with pytest.raises(ValidationError, match="two guardrails"):
        definition(x=ENTRY, y=ENTRY)


@pytest.mark.parametrize("kind", ["embedding", "imagegen"])
def test_a_post_call_guardrail_needs_an_answer_of_text(kind):
    body = external(modelType=kind, guardrailsConfig={"x": {**ENTRY, "mode": "post_call"}})
    with pytest.raises(InvalidRequest) as caught:
        CreateModel.model_validate(body).definition().check()
    assert caught.value.field == "guardrailsConfig"


def test_all_kinds_are_looked_for_unless_some_are_named():
    entry = {**ENTRY, "guardrailIdentifier": "builtin:pii"}
    (every,) = definition(x=entry).guardrails_config.values()
    (one,) = definition(x={**entry, "config": {"kinds": ["iban"]}}).guardrails_config.values()
    assert len(Guardrail.of(every).kinds) == 6
    assert Guardrail.of(one).kinds == ("iban",)


def test_guardrails_travel_in_the_route(routes):
    (entry,) = definition(x={**ENTRY, "allowedGroups": ["a"], "mode": "post_call"}).guardrails_config.values()
    target = HostedTarget("vllm", "http://alb", "h.models.internal")
    kept = Route(
        "m", "n", "textgen", "chat", "lisa_hosted", "active", target, guardrails=(Guardrail.of(entry),)
    )
    routes.put(kept)
    assert routes.routes()[1] == [kept]


def test_a_route_from_before_there_were_guardrails_has_none(routes, dynamodb):
    target = HostedTarget("vllm", "http://alb", "h.models.internal")
    routes.put(Route("m", "n", "textgen", "chat", "lisa_hosted", "active", target))
    key = {"pk": {"S": "ROUTE"}, "sk": {"S": "m"}}
    dynamodb.update_item(TableName="models", Key=key, UpdateExpression="REMOVE guardrails")
    assert routes.route("m").guardrails == ()
