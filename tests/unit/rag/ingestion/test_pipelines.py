"""Other buckets' files: by their events, and by looking through a folder as a schedule says."""

from dataclasses import replace
from typing import Any

import boto3
import pytest
from lisa.rag.documents import naming
from lisa.rag.ingestion.find import FindDocuments
from lisa.rag.ingestion.schedules import DAILY, PipelineSchedules
from lisa.rag.records import Chunking, Pipeline

from tests.unit.rag.ingestion.conftest import ANN, OTHER

NAME = "library/p-1"


def pipeline(**fields: Any) -> Pipeline:
    return Pipeline(
        **{
            "id": "p-1", "bucket": OTHER, "prefix": "in/", "trigger": "event", "collection_id": "c-1",
            "tags": ("piped",), "chunking": Chunking(size=100, overlap=10), **fields,
        }
    )  # fmt: skip


@pytest.fixture
def pipe(world):
    def _pipe(*pipelines: Pipeline):
        old = world.repositories.repository("library")
        new = replace(old, pipelines=pipelines, version=old.version + 1)
        assert world.repositories.change(old, new)
        return new

    return _pipe


@pytest.fixture
def find(world):
    return FindDocuments(world.repositories, world.stores.objects, world.s3, world.queue)


def texts(world, key):
    return world.texts(key, pipeline=NAME, bucket=OTHER)


def test_files_below_a_pipelines_prefix_are_ingested_and_others_are_nobodys(world, pipe):
    pipe(pipeline())
    world.deliver(world.put("in/a.txt", "one", bucket=OTHER), world.put("out/b.txt", "two", bucket=OTHER))
    assert texts(world, "in/a.txt") == ["one"]
    (document,) = world.service.documents(ANN, "library").documents
    assert (document.tags, document.chunking.size) == (("piped",), 100)
    assert document.source == f"s3://{OTHER}/in/a.txt"
    assert len(world.jobs()) == 1
    assert world.service.unplaced() == []


def test_one_object_may_feed_several_collections(world, pipe):
    pipe(pipeline(), pipeline(id="p-2", collection_id="mini"))
    world.deliver(world.put("in/a.txt", "one", bucket=OTHER))
    assert texts(world, "in/a.txt") == ["one"]
    assert world.texts("in/a.txt", "mini", pipeline="library/p-2", bucket=OTHER) == ["one"]


@pytest.mark.parametrize(("auto_remove", "left"), [(True, []), (False, ["one"])])
def test_what_goes_from_the_bucket_goes_from_the_collection_where_the_pipeline_says_so(
    world, pipe, auto_remove, left
):
    pipe(pipeline(auto_remove=auto_remove))
    world.deliver(world.put("in/a.txt", "one", bucket=OTHER))
    world.deliver(world.remove("in/a.txt", bucket=OTHER))
    assert texts(world, "in/a.txt") == left
    assert world.open() == []
    assert world.count()[0] == len(left)


def test_a_look_finds_what_is_new_changed_and_gone_and_nothing_else(world, pipe, find):
    pipe(pipeline(trigger="daily"))
    for name in ("a", "b", "c"):
        world.put(f"in/{name}.txt", name, bucket=OTHER)
    assert (find(NAME).changed, find(NAME).files) == (3, 3)
    world.settle()
    assert [texts(world, f"in/{name}.txt") for name in "abc"] == [["a"], ["b"], ["c"]]
    assert (find(NAME).changed, find(NAME).removed) == (0, 0)

    world.put("in/a.txt", "a\nnew", bucket=OTHER)
    world.remove("in/b.txt", bucket=OTHER)
    seen = find(NAME)
    assert (seen.files, seen.changed, seen.removed) == (2, 1, 1)
    world.settle()
    assert [texts(world, f"in/{name}.txt") for name in "abc"] == [["a", "new"], [], ["c"]]
    assert world.count() == (2, 3, 6, 0)

    world.put("in/b.txt", "back", bucket=OTHER)
    find(NAME)
    find(NAME)
    world.settle()
    assert texts(world, "in/b.txt") == ["back"]
    assert world.model.asked.count("back") == 1


def test_an_event_is_later_than_what_a_look_has_found(world, pipe, find):
    pipe(pipeline())
    world.put("in/a.txt", "one", bucket=OTHER)
    find(NAME)
    world.settle()
    world.deliver(world.put("in/a.txt", "two", bucket=OTHER))
    assert texts(world, "in/a.txt") == ["two"]


def test_the_pipelines_of_a_documents_repository_may_go_before_its_event_comes(world, pipe):
    pipe(pipeline())
    event = world.put("in/a.txt", "one", bucket=OTHER)
    pipe()
    world.deliver(event)
    assert world.jobs() == []
    assert world.open() == []


# --- Schedules


class Functions:
    def __init__(self) -> None:
        self.invoked: list[str] = []

    def invoke(self, **arguments: Any) -> None:
        self.invoked.append(arguments["Payload"])


def test_schedules_are_what_the_pipelines_say(world, pipe):
    client, functions = boto3.client("scheduler"), Functions()
    arn = "arn:aws:lambda:us-east-1:123456789012:function:find"
    role = "arn:aws:iam::123456789012:role/scheduler"
    schedules = PipelineSchedules("lisa", client, functions, find_arn=arn, role_arn=role)

    def there() -> dict[str, str]:
        found = client.list_schedules(NamePrefix="lisa-pipeline-")["Schedules"]
        each = [client.get_schedule(Name=one["Name"]) for one in found]
        return {one["Target"]["Input"]: one["ScheduleExpression"] for one in each}

    schedules.apply(
        pipe(
            pipeline(),
            pipeline(id="p-2", trigger="daily"),
            pipeline(id="p-3", trigger="schedule", schedule="rate(1 hour)"),
        )
    )
    assert there() == {'{"pipeline": "library/p-2"}': DAILY, '{"pipeline": "library/p-3"}': "rate(1 hour)"}
    assert len(functions.invoked) == 3

    again = pipe(pipeline(id="p-3", trigger="schedule", schedule="cron(0 6 * * ? *)"))
    schedules.apply(again)
    schedules.apply(again)
    assert there() == {'{"pipeline": "library/p-3"}': "cron(0 6 * * ? *)"}
    schedules.remove("library")
    schedules.remove("library")
    assert there() == {}


def test_names_of_schedules_are_short_enough_and_apart():
    names = {
        PipelineSchedules("d" * 15, None, None, find_arn="", role_arn="")._name(repository, pipeline(id=each))
        for repository in ("a", "a-b", "r" * 20)
        for each in ("p", "p-1", "x" * 100)
    }
    assert len(names) == 9
    assert all(len(name) <= 64 for name in names)


def test_a_pipelines_document_is_another_one_than_that_of_the_drop_folder():
    assert naming.document_id("b", "k", NAME) != naming.document_id("b", "k")
