"""Search as people and the gateway ask for it: the function with its tables; models and the store written by hand."""

import json
from dataclasses import replace

import pytest
from lisa import aws
from lisa.errors import Unavailable
from lisa.rag.repositories.store import RepositoryStore
from lisa.rag.search import wiring
from lisa.rag.vectors.base import Arms

from tests.unit.functions.samples import call, sample
from tests.unit.rag.search.places import DEFAULT, REPOSITORY, TEAM_A, Models, Store, Words, hit
from tests.unit.tables import create_table

PATH = "/api/repository/docs/similaritySearch"
FOUND = Arms(
    dense=(hit("a", 0.8, "red wings"), hit("b", 0.4, "blue lentils")),
    lexical=(hit("a", 10.0, "red wings"),),
)


class Tokenizers:
    def of(self, model: str) -> Words:
        return Words()


@pytest.fixture
def store() -> Store:
    return Store(FOUND)


@pytest.fixture
def search(account, monkeypatch, load, store):
    """The function's handler; the repository `docs` has a collection for everyone and one of the group team-a."""
    for name in ("repositories", "documents"):
        if f"search-{name}" not in aws.dynamodb().list_tables()["TableNames"]:
            create_table(aws.dynamodb(), f"search-{name}")
        monkeypatch.setenv(f"LISA_{name.upper()}_TABLE", f"search-{name}")
    rows = RepositoryStore("search-repositories", aws.dynamodb())
    rows.create_repository(REPOSITORY)
    rows.create_collection(DEFAULT)
    rows.create_collection(TEAM_A)
    monkeypatch.setattr(wiring, "embedder", lambda seconds: Models())
    monkeypatch.setattr(wiring, "tokenizers_of_process", Tokenizers)
    monkeypatch.setattr(wiring, "open_store", lambda repository, settings: store)
    function = load("rag_search")
    return lambda event: function.handler(event, context())


def context():
    from tests.unit.functions.conftest import Context

    return Context()


def get(path: str = PATH, *, user: str = "alice", groups=("team-a",), **query: str):
    query = {"query": "red wings", "collectionId": "mini"} | query
    return call("GET", path, user=user, groups=groups, query={k: v for k, v in query.items() if v})


def body(answer) -> dict:
    return json.loads(answer["body"])


def invoked(user: str = "alice", groups=("team-a",), **fields) -> dict:
    principal = {"user": user, "groups": list(groups), "isAdmin": False, "isRagAdmin": False}
    asked = {"repositoryId": "docs", "collectionId": "mini", "query": "red wings", "topK": 5, "rerank": True}
    return {"principal": principal, **asked, **fields}


def test_people_are_answered_in_upstreams_shape(search):
    answer = search(get(repositoryType="docs", topK="1"))
    assert answer["statusCode"] == 200
    found = body(answer)
    assert [each["Document"]["page_content"] for each in found["docs"]] == ["red wings"]
    assert found["docs"][0]["Document"]["metadata"]["source"] == "s3://bucket/docs/mini/a.txt"
    assert "similarity_score" not in found["docs"][0]["Document"]["metadata"]
    assert (found["query"], found["truncated"]) == ("red wings", False)


def test_scores_are_there_when_they_are_asked_for(search):
    docs = body(search(get(score="true")))["docs"]
    scores = [each["Document"]["metadata"]["similarity_score"] for each in docs]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


def test_the_model_stands_for_the_default_collection(search, store):
    assert search(get(collectionId="", modelName="mini"))["statusCode"] == 200
    assert store.asked[0][0].collection_id == "mini"


def test_by_document_top_k_counts_documents(search, store):
    store.arms = Arms(dense=(hit("a", 0.8, "red"), hit("a", 0.7, "wings", ordinal=1), hit("b", 0.4, "blue")))
    docs = body(search(get(topK="2", groupBy="document", mode="dense")))["docs"]
    assert [each["Document"]["page_content"] for each in docs] == ["red", "blue"]


@pytest.mark.parametrize(
    ("query", "status", "field", "says"),
    [
        ({"collectionId": ""}, 400, "collectionId", "collectionId, or modelName"),
        ({"query": ""}, 400, "query", "empty"),
        ({"topK": "1000"}, 400, "topK", "between 1 and 100"),
        ({"topK": "many"}, 400, "topK", "integer"),
        ({"mode": "psychic"}, 400, "mode", "dense"),
        ({"groupBy": "page"}, 400, "groupBy", "document"),
        ({"scoreThreshold": "2"}, 400, "scoreThreshold", "between 0 and 1"),
        ({"filter": "{"}, 400, "filter", "not JSON"),
        ({"filter": '{"type":"eq","key":"colour","value":"red"}'}, 400, "filter", "'colour'"),
        ({"filter": '{"type":"~","key":"owner","value":"red"}'}, 400, "filter.type", "'~'"),
        ({"collectionId": "nothing"}, 404, "collectionId", "nothing"),
    ],
)
def test_what_is_wrong_is_named(search, store, query, status, field, says):
    answer = search(get(**query))
    assert (answer["statusCode"], body(answer)["field"]) == (status, field)
    assert says in body(answer)["message"]
    assert store.asked == []


def test_a_filter_reaches_the_store_as_values(search, store):
    hostile = "x' OR 1=1; DROP TABLE chunks --"
    document = {"type": "and", "filters": [{"type": "ne", "key": "owner", "value": hostile}]}
    assert search(get(filter=json.dumps(document)))["statusCode"] == 200
    (comparison,) = store.asked[0][1].filter.filters
    assert comparison.values == (hostile,)


def test_another_groups_collection_is_not_there_by_either_way_in(search, store):
    for path in (PATH, f"{PATH}/inspect"):
        answer = search(get(path, user="bob", groups=("team-b",), collectionId="c-a"))
        assert (answer["statusCode"], body(answer)["code"]) == (404, "collection_not_found")
    for operation in ({}, {"operation": "chunks", "documentId": "id-a"}):
        answer = search(invoked("bob", ("team-b",), collectionId="c-a", **operation))
        assert (answer["status"], answer["error"]["code"]) == (404, "collection_not_found")
    assert store.asked == []
    assert search(get(collectionId="c-a"))["statusCode"] == 200


def test_the_inspector_explains_a_result(search):
    seen = body(search(get(f"{PATH}/inspect", topK="1", shown="5")))
    assert [(each["documentName"], each["returned"]) for each in seen["hits"]] == [
        ("a.txt", True),
        ("b.txt", False),
    ]
    assert (seen["terms"], seen["denseFound"], seen["lexicalFound"]) == (["red", "wing"], 2, 1)
    assert seen["hits"][1]["scores"]["lexicalRank"] is None


def test_the_gateway_gets_hits_for_the_principal_that_it_has_verified(search, store):
    answer = search(invoked(scoreThreshold=0.01))
    assert answer["status"] == 200
    first = answer["body"]["hits"][0]
    assert (first["documentId"], first["text"], first["page"], first["start"]) == ("id-a", "red wings", 2, 10)
    assert store.asked[0][2].user == "alice"


def test_the_gateway_gets_a_document_in_pieces(search):
    answer = search(invoked(operation="chunks", documentId="id-a", after=0, limit=2))
    assert [each["ordinal"] for each in answer["body"]["chunks"]] == [1, 2]


@pytest.mark.parametrize(
    ("fields", "field"), [({"topK": "5"}, "topK"), ({"query": None}, "query"), ({"rerank": "yes"}, "rerank")]
)
def test_the_gateway_is_told_what_was_wrong_with_its_call(search, fields, field):
    answer = search(invoked(**fields))
    assert (answer["status"], answer["error"]["field"]) == (400, field)


def test_a_database_that_wakes_up_is_a_503_that_says_when_to_come_back(search, store, monkeypatch):
    def waking(*_):
        raise Unavailable("The database is waking up; try again.", retry_after=15)

    monkeypatch.setattr(store, "search", waking)
    answer = search(get())
    assert answer["statusCode"] == 503
    assert answer["multiValueHeaders"]["Retry-After"] == ["15"]
    answer = search(invoked())
    assert (answer["status"], answer["error"]["retryAfter"]) == (503, 15)


def test_the_sample_event_is_one_that_the_function_takes(search):
    answer = search(sample("rag_search"))
    assert (answer["statusCode"], body(answer)["code"]) == (404, "repository_not_found")


def test_an_index_is_searched_in_the_generation_that_serves(search, store):
    rows = RepositoryStore("search-repositories", aws.dynamodb())
    old = rows.collection("docs", "mini")
    rows.change(old, replace(old, generation=5, version=old.version + 1))
    search(get())
    assert store.asked[0][0].generation == 5
