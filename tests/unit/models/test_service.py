import json
from typing import Any

import pytest
from lisa import aws as clients
from lisa.errors import Conflict, InvalidRequest, NotFound
from lisa.identity.principal import Principal
from lisa.models.schema import CreateModel
from lisa.models.secrets import ProviderKeys
from lisa.models.service import ModelService
from lisa.settings import Settings

from tests.unit.models.bodies import external, hosted, record

ADMIN = Principal(user="admin", groups=frozenset({"admin"}), is_admin=True, expires_at=0)
ALICE = Principal(user="alice", groups=frozenset({"user", "team-a"}), is_admin=False, expires_at=0)
BOB = Principal(user="bob", groups=frozenset({"user", "team-b"}), is_admin=False, expires_at=0)
SETTINGS = Settings(deployment="lisa", model_start_timeout=600, allowed_provider_hosts=("127.0.0.1", "*"))


@pytest.fixture
def secrets(aws: None) -> Any:
    return clients.secrets_manager()


@pytest.fixture
def service(models, secrets, clock):
    return ModelService(SETTINGS, models, ProviderKeys("lisa", secrets), clock=clock)


def create(service: ModelService, body: dict[str, Any], principal: Principal = ADMIN) -> Any:
    return service.create(principal, CreateModel.model_validate(body))


def kept(secrets: Any) -> list[str]:
    return [secret["ARN"] for secret in secrets.list_secrets()["SecretList"]]


def test_a_create_stores_the_wish_and_answers_creating(service, models, clock):
    # When
    answered = create(service, external())

    # Then
    assert (answered.model_id, answered.status, answered.reason) == ("m1", "Creating", None)
    row = models.get("m1")
    assert (row.desired, row.attempt, row.created_by) == ("present", 1, "admin")
    assert row.created_at == int(clock())
    assert row.deadline > clock()


def test_a_hosted_model_may_take_its_time_to_start_and_more(service, models, clock):
    create(service, hosted())
    assert models.get("h1").deadline >= clock() + 600


def test_a_model_made_again_begins_at_a_later_generation(service, models, clock):
    # Given a model that was created and deleted: its executions' names are used up
    create(service, external())
    service.delete("m1")
    gone = models.get("m1")
    models.forget("m1", gone.generation)

    # When
    clock.now += 1
    create(service, external())

    # Then
    assert models.get("m1").generation > gone.generation


def test_a_name_that_is_taken_is_a_conflict_and_keeps_the_first_key(service, models, secrets):
    # Given
    create(service, external(apiKey="first"))

    # When
    with pytest.raises(Conflict) as raised:
        create(service, external(apiKey="second"))

    # Then
    assert raised.value.field == "modelId"
    assert kept(secrets) == [models.get("m1").secret_arn]
    assert secrets.get_secret_value(SecretId=models.get("m1").secret_arn)["SecretString"] == "first"


def test_of_two_creates_at_once_the_loser_leaves_no_key(service, models, secrets, monkeypatch):
    # Given a second create that looks before the first has written
    create(service, external(apiKey="first"))
    monkeypatch.setattr(models, "get", lambda model_id: None)

    # When
    with pytest.raises(Conflict):
        create(service, external(apiKey="second"))

    # Then
    assert [secrets.get_secret_value(SecretId=arn)["SecretString"] for arn in kept(secrets)] == ["first"]


def test_the_key_is_in_secrets_manager_and_nowhere_in_the_table(service, secrets, dynamodb):
    # When
    answered = create(service, external(apiKey="sk-very-secret"))

    # Then
    items = dynamodb.scan(TableName="models")["Items"]
    assert items
    assert "sk-very-secret" not in json.dumps(items)
    assert "sk-very-secret" not in answered.model_dump_json()
    assert [secrets.get_secret_value(SecretId=arn)["SecretString"] for arn in kept(secrets)] == [
        "sk-very-secret"
    ]


def test_a_hosted_model_has_no_key(service, secrets, models):
    create(service, hosted(apiKey="sk-needless"))
    assert kept(secrets) == []
    assert models.get("h1").secret_arn is None


def test_a_url_outside_the_allowed_hosts_stores_nothing(service, models, secrets):
    with pytest.raises(InvalidRequest) as raised:
        create(service, external(modelUrl="http://169.254.169.254/", apiKey="k"))
    assert raised.value.field == "modelUrl"
    assert models.get("m1") is None
    assert kept(secrets) == []


def test_a_provider_without_a_url_is_no_matter_of_hosts(service):
    assert create(service, external(modelName="bedrock/some.model")).status == "Creating"


def test_a_deployment_without_a_way_out_refuses_external_models_with_a_sentence(models, secrets, clock):
    settings = SETTINGS.model_copy(update={"allowed_provider_hosts": ()})
    service = ModelService(settings, models, ProviderKeys("lisa", secrets), clock=clock)
    with pytest.raises(InvalidRequest, match="no way out") as raised:
        create(service, external())
    assert raised.value.field == "hostingType"
    assert create(service, hosted()).status == "Creating"


@pytest.mark.parametrize(
    ("principal", "seen"),
    [
        (ADMIN, ["everyones", "team-a", "team-b"]),
        (ALICE, ["everyones", "team-a"]),
        (BOB, ["everyones", "team-b"]),
    ],
)
def test_people_see_what_is_for_their_groups(service, principal, seen):
    # Given
    create(service, external(modelId="everyones"))
    create(service, external(modelId="team-a", allowedGroups=["team-a"]))
    create(service, external(modelId="team-b", allowedGroups=["team-b"]))

    # Then
    assert [model.model_id for model in service.list(principal)[0]] == seen
    for model_id in ("everyones", "team-a", "team-b"):
        if model_id in seen:
            assert service.get(principal, model_id).model_id == model_id
        else:
            with pytest.raises(NotFound) as hidden:
                service.get(principal, model_id)
            with pytest.raises(NotFound) as missing:
                service.get(principal, "nobody")
            assert hidden.value.code == missing.value.code == "model_not_found"


def test_pages_go_on_where_the_last_one_ended(service):
    # Given
    for number in range(5):
        create(service, external(modelId=f"m{number}", allowedGroups=["team-b"] if number == 1 else None))

    # When
    seen, token, pages = [], None, 0
    while True:
        models, token = service.list(ALICE, page_size=2, token=token)
        seen += [model.model_id for model in models]
        pages += 1
        if token is None:
            break

    # Then
    assert seen == ["m0", "m2", "m3", "m4"]
    assert pages == 3


@pytest.mark.parametrize("size", [0, -1, 101])
def test_a_page_size_outside_the_limits_is_named(service, size):
    with pytest.raises(InvalidRequest) as raised:
        service.list(ADMIN, page_size=size)
    assert raised.value.field == "pageSize"


@pytest.mark.parametrize("token", ["not base64!", "é", "_w=="])
def test_a_token_that_no_page_gave_is_named(service, token):
    with pytest.raises(InvalidRequest) as raised:
        service.list(ADMIN, page_size=2, token=token)
    assert raised.value.field == "nextToken"


def test_a_delete_answers_deleting_and_asking_twice_is_as_once(service, models):
    # Given
    create(service, external())

    # When
    first = service.delete("m1")
    generation = models.get("m1").generation
    second = service.delete("m1")

    # Then
    assert first.status == second.status == "Deleting"
    assert models.get("m1").generation == generation


@pytest.mark.parametrize("status", ["Creating", "InService", "Failed"])
def test_a_model_can_be_deleted_in_every_state(service, models, status):
    models.create(record(status=status))
    assert service.delete("m1").status == "Deleting"


def test_a_removal_that_failed_can_be_asked_for_again(service, models):
    models.create(record(status="Failed", desired="absent", generation=9))
    assert service.delete("m1").status == "Deleting"
    assert models.get("m1").generation == 10


def test_deleting_what_is_not_there_is_not_found(service):
    with pytest.raises(NotFound) as raised:
        service.delete("nobody")
    assert raised.value.code == "model_not_found"


def test_a_write_whose_answer_was_lost_is_no_conflict_and_keeps_its_key(
    service, models, secrets, monkeypatch
):
    # Given a first write that is done, and a second try that finds it
    write = models.create

    def twice(row):
        write(row)
        write(row)

    monkeypatch.setattr(models, "create", twice)
    # When
    answered = create(service, {**external(), "apiKey": "sk-kept"})
    # Then
    assert answered.status == "Creating"
    assert kept(secrets) == [models.get("m1").secret_arn]


def test_a_delete_that_loses_a_race_says_so(service, models, monkeypatch):
    # Given a row that changes between the look and the write
    models.create(record(status="InService"))
    monkeypatch.setattr(models, "want_absent", lambda *args, **kwargs: None)

    # Then
    with pytest.raises(Conflict, match="try again"):
        service.delete("m1")
