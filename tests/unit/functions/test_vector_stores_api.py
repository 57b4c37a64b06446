"""The function behind the gateway's files and vector stores, as it is deployed."""

import json

import pytest
from lisa import aws
from lisa.rag.repositories.store import RepositoryStore

from tests.unit.functions.conftest import REPOSITORIES_TABLE
from tests.unit.functions.samples import sample
from tests.unit.rag.people import collection, repository


@pytest.fixture
def tables(account, monkeypatch):
    monkeypatch.setenv("LISA_WORK_QUEUE_URL", "https://sqs.us-east-1.amazonaws.com/123456789012/work")
    return RepositoryStore(REPOSITORIES_TABLE, aws.dynamodb())


def test_the_sample_asks_for_what_is_not_there(invoke, tables):
    answer = invoke("vector_stores_api", sample("vector_stores_api"))
    assert answer["status"] == 404
    assert answer["error"]["code"] == "vector_store_not_found"


def test_the_sample_is_answered_where_there_is_a_repository(invoke, tables):
    tables.create_repository(repository("default"))
    tables.create_collection(collection("all-minilm-l6-v2", repository_id="default", is_default=True))
    answer = invoke("vector_stores_api", sample("vector_stores_api"))
    assert answer == {
        "status": 200,
        "body": {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False},
    }


def test_what_is_wrong_with_a_body_is_named_and_its_values_are_not_said(invoke, tables, capsys):
    event = sample("vector_stores_api") | {
        "method": "POST",
        "route": "/vector_stores",
        "path": {},
        "body": {"metadata": {"a": {"secret": "sk-1"}}},
    }
    answer = invoke("vector_stores_api", event)
    assert (answer["status"], answer["error"]["field"]) == (400, "metadata.a")
    assert "sk-1" not in json.dumps(answer) + capsys.readouterr().out


def test_a_fault_of_ours_is_500_and_tells_nothing(invoke, tables, monkeypatch):
    def broken(self, *args):
        raise RuntimeError("arn:aws:secret-thing")

    monkeypatch.setattr("lisa.rag.openai.interface.OpenAIInterface.answer", broken)
    answer = invoke("vector_stores_api", sample("vector_stores_api"))
    assert answer["status"] == 500
    assert "secret-thing" not in json.dumps(answer)
